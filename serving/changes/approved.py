"""Which campaigns of the set in force a second person approved, to the byte: those may run by themselves."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from rules.catalogue import Catalogue, load_catalogue
from rules.line import Line
from rules.liveset import CATALOGUE_FILE, laid_out
from rules.review import Act, State, Step, state_of
from serving.campaign import Campaign, load_campaign
from serving.ledger import changes

_STANDS = (State.APPROVED, State.ACTIVATED, State.ROLLED_BACK)  # of a change that somebody approved and nobody rejected


@dataclass(frozen=True)
class LiveCampaigns:
    """The campaigns in force by id. refused: id -> why it may not run by itself, one line; approver: id -> who let it."""

    campaigns: dict[str, Campaign] = field(default_factory=dict[str, Campaign])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    approver: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def runnable(self) -> dict[str, Campaign]:
        """Those with a schedule that somebody else than their author approved."""
        return {name: one for name, one in self.campaigns.items() if one.schedule and name not in self.refused}


def live_campaigns(connection: Connection, now: int) -> LiveCampaigns:
    """What the ledger has in force at an instant; empty before the first set. Files of the home are not read."""
    revision = changes.revision_in_force(connection, now)
    if revision is None:
        return LiveCampaigns()
    held, approved = changes.digests_of(connection, revision), approved_digests(connection)
    files = changes.files_of(connection, revision)
    names = [name for name in files if name.startswith("campaigns/")]
    found = LiveCampaigns()
    with laid_out({name: files[name] for name in names}) as folder:
        for name in sorted(names):
            campaign = load_campaign(folder / name)
            found.campaigns[campaign.id] = campaign
            if held[name] in approved.get(name, ()):
                found.approver[campaign.id] = approved[name][held[name]]
            else:
                found.refused[campaign.id] = _why(campaign, name, known=name in approved)
    return found


def live_catalogue(connection: Connection, now: int) -> Catalogue:
    """The catalogue that the ledger has in force at an instant; LedgerError before the first set."""
    files = changes.files_of(connection, changes.revision_in_force(connection, now) or "")
    with laid_out({CATALOGUE_FILE: files[CATALOGUE_FILE]}) as folder:
        return load_catalogue(folder / CATALOGUE_FILE)


def unapproved(connection: Connection, now: int, campaigns: Iterable[str]) -> tuple[Line, ...]:
    """Which of these campaigns are in force, or will be with the first list, though nobody approved them; a line each."""
    approver = live_campaigns(connection, now).approver
    return tuple(
        Line(en=f"campaign `{name}` as it is in force was approved by nobody: this run was started by hand, the scheduler"
                " would not make it; nbo rules list, then nbo rules approve",
             zh=f"生效中的活动 `{name}` 未经任何人审批：本次为人工启动，调度程序不会运行；请运行 nbo rules list，再 nbo rules approve")
        for name in campaigns if name not in approver
    )  # fmt: skip


def approved_digests(connection: Connection) -> dict[str, dict[str, str]]:
    """File -> sha256 of each text of it that a second person approved -> who: of the files that his change touched."""
    of: dict[str, list[Step]] = {}
    for entry in changes.entries(connection):
        of.setdefault(entry.step.change_id, []).append(entry.step)
    found: dict[str, dict[str, str]] = {}
    for steps in of.values():
        approvers = [step.actor.name for step in steps if step.act is Act.APPROVE]
        if approvers and state_of(steps) in _STANDS:
            before = {} if steps[0].act is Act.BOOT else changes.digests_of(connection, steps[0].base)
            for name, digest in changes.digests_of(connection, steps[0].target).items():
                if before.get(name) != digest:
                    found.setdefault(name, {})[digest] = approvers[-1]
    return found


def _why(campaign: Campaign, name: str, *, known: bool) -> str:
    if known:
        return f"campaign `{campaign.id}` is not run: `{name}` as it is in force is not what was approved; propose it again"
    return f"campaign `{campaign.id}` is not run: nobody has approved `{name}`; nbo rules list, then nbo rules approve"
