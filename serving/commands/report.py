"""`nbo report campaign`: what came of a campaign's contacts."""

from itertools import groupby
from typing import Annotated

import typer

from features.home import Home
from features.terminal import AsJson, tell
from rules.money import money
from serving.lists.aftermath import CampaignReport, CampaignRow, campaign_report
from serving.lists.grievances import Grievance
from serving.office import open_engine, reading_ledger

app = typer.Typer(name="report", help="What came of what was said.", no_args_is_help=True)
GROUPS_TOLD = 12


@app.callback()
def reporting() -> None:
    """What came of what was said."""


@app.command("campaign")
def campaign(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="The campaign.")],
    as_json: AsJson = False,
) -> None:
    """Response, cost, complaints, and the value against the held out with an interval that holds at every look."""
    home = Home.open(context.obj)
    engine = open_engine(home)
    with reading_ledger(home, engine) as ledger, ledger.read() as connection:
        told = campaign_report(engine, connection, name, home.now())
    text = "\n".join(report_lines(told, engine.catalogue.base_currency))
    tell(told, as_json, text)


def report_lines(told: CampaignReport, currency: str) -> list[str]:
    """The report for people."""
    lines = [f"campaign {told.campaign}", _line(told, currency)]
    for by in ("branch", "manager", "tier"):
        rows = sorted((row for row in told.rows if row.by == by), key=lambda row: (-row.issued, row.group or "~"))
        lines += [f"by {by}", *(f"  {row.group or 'not known'}: {_line(row, currency)}" for row in rows[:GROUPS_TOLD])]
        lines += [f"  and {len(rows) - GROUPS_TOLD:,} more: --json"] if len(rows) > GROUPS_TOLD else []
    lines += [_grievance(one) for one in told.grievances]
    return [*lines, *(text for line in told.why for text in (f"not known: {line.en}", f"未知：{line.zh}"))]


def _grievance(one: Grievance) -> str:
    policy = one.policy[:12] if one.policy else "not recorded"
    audience = f"`{one.audience}`" if one.audience else "not recorded"
    return (f"{one.kind} on {one.at:%F}: contact {one.contact_id}, {one.offer_id} by {one.channel}, list {one.source or 'none'}, "
            f"policy {policy}, audience {audience}; asked: {_rules(one)}")  # fmt: skip


def _rules(one: Grievance) -> str:
    """`regulatory minors, staff; contact calls_a_week`: what that policy asked of the contact's cell, by layer."""
    if one.rules is None:
        return "not known, the policy's files cannot be had any more"
    of = groupby(one.rules, key=lambda rule: rule.layer)  # by precedence, so each layer comes once
    return "; ".join(f"{layer} {', '.join(rule.id for rule in rules)}" for layer, rules in of) or "no rule"


def _line(row: CampaignRow, currency: str) -> str:
    text = (f"{row.issued:,} issued, {row.sent:,} sent, {row.reached:,} reached, {row.answered:,} answered, {row.accepted:,} accepted, "
            f"{row.complained:,} complained, {row.opted_out:,} opted out, cost {money(row.cost_minor, currency)}")  # fmt: skip
    if row.unripe:
        text += f"; {row.unripe:,} units not ripe yet / {row.unripe:,} 个单位尚未成熟"
    if row.incremental_minor is None:
        return text
    low, high = (money(side or 0, currency) for side in (row.incremental_low_minor, row.incremental_high_minor))
    return f"{text}; changed {money(row.incremental_minor, currency)} ({low} to {high}), {row.units:,} units against {row.held_out:,} held out"
