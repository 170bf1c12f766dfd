"""Complaints and opt-outs after a campaign's contacts, and what had let each contact through.

A customer opts out by an outcome of a contact, or past it: by a consent he withdraws or denies, at a branch or in
the app. The latter belongs to the last contact of the campaign that was sent to him on a channel it closes, at
most WINDOW days before, unless that contact has an opt-out already. What an outcome withdrew is the outcome's.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import BaseModel
from sqlalchemy import bindparam, select
from sqlalchemy.engine import Connection

from rules.liveset import laid_out
from serving.campaign import Campaign, CampaignError, load_campaigns
from serving.engine import Engine
from serving.ledger import changes
from serving.ledger.consents import ALL, of_customers
from serving.ledger.errors import LedgerError
from serving.ledger.identity import aliases_of
from serving.ledger.outcomes import WITHDRAWING, Kind
from serving.ledger.schema import decisions
from serving.ledger.statement import is_listed, listed
from serving.lists.files import Manifest
from serving.lists.governing import RuleAsked, rules_asked
from serving.lists.incremental import WINDOW

OPTING_OUT = {Kind.OPTED_OUT, Kind.DO_NOT_CALL}
Said = dict[str, list[tuple[str, datetime]]]  # contact -> (outcome, when)


class Grievance(BaseModel):
    """A complaint or opt-out, and what had allowed the contact: its list or decision, the policy, its rules, the audience.

    policy, audience: as they were in force for the list or decision; null: nobody recorded it here. rules: those of that
    policy that were asked of the contact's offer and channel, by precedence; null: its files cannot be had any more.
    """

    contact_id: str
    kind: str
    at: datetime
    offer_id: str | None
    channel: str
    source: str | None  # the run, or the decision
    policy: str | None  # a revision
    audience: str | None
    rules: list[RuleAsked] | None = None


def withdrawals(connection: Connection, made: Sequence[dict[str, Any]], said: Said) -> dict[str, datetime]:
    """Contact -> when its customer withdrew or denied consent past it: those whose outcomes tell of no opt-out."""
    sent = [contact for contact in made if contact["sent_at"] is not None and contact["state"] == "sent"]
    customers = {contact["customer_id"] for contact in sent}
    others = aliases_of(connection, customers)
    word: dict[str, list[tuple[int, str]]] = {}
    for consent in of_customers(connection, {*customers, *(one for ids in others.values() for one in ids)}):
        by_outcome = (consent.source or "").startswith("outcome:")
        if consent.purpose == "marketing" and consent.state != "granted" and not by_outcome:
            word.setdefault(consent.customer_id, []).append((consent.at, consent.channel))
    mine: dict[str, list[dict[str, Any]]] = {}
    for contact in sent:
        mine.setdefault(contact["customer_id"], []).append(contact)
    found: dict[str, datetime] = {}
    for customer, theirs in mine.items():
        for at, channel in sorted(
            {one for name in (customer, *others.get(customer, ())) for one in word.get(name, ())}
        ):
            last = _last_before(theirs, at, channel)
            if last is not None and not any(kind in OPTING_OUT for kind, _ in said.get(last, ())):
                found.setdefault(last, _instant(at))
    return found


def grievances(engine: Engine, connection: Connection, campaign: str, runs: Iterable[Manifest], made: Sequence[dict[str, Any]],
               said: Said, left: dict[str, datetime]) -> list[Grievance]:  # fmt: skip
    """Every complaint and opt-out, oldest first. left: as `withdrawals` gives it."""
    told = [
        (contact, kind, at)
        for contact in made
        for kind, at in said.get(contact["contact_id"], ())
        if kind in WITHDRAWING
    ]
    told += [
        (contact, str(Kind.OPTED_OUT), left[contact["contact_id"]]) for contact in made if contact["contact_id"] in left
    ]
    behind = _revisions(connection, runs, {contact["decision_id"] for contact, _, _ in told})

    @cache
    def audience(live_set: str | None) -> str | None:
        one = _campaign_of(engine, connection, campaign, live_set)
        return None if one is None else one.audience

    found, asked = list[Grievance](), rules_asked(engine, connection, campaign)
    for contact, kind, at in told:
        held = behind.get(contact["decision_id"], {})
        rules = asked(held.get("live_set"), held.get("policy"), contact["offer_id"], contact["channel"], _instant(contact["decided_at"]))  # fmt: skip
        found.append(Grievance(contact_id=contact["contact_id"], kind=kind, at=at, offer_id=contact["offer_id"], channel=contact["channel"],
                               source=contact["decision_id"], policy=held.get("policy"), audience=audience(held.get("live_set")), rules=rules))  # fmt: skip
    return sorted(found, key=lambda g: (g.at, g.contact_id, g.kind))


def _last_before(contacts: Sequence[dict[str, Any]], at: int, channel: str) -> str | None:
    """The last of the contacts that a word at that instant about that channel may answer."""
    days = WINDOW.days * 86_400_000_000
    near = [c for c in contacts if c["sent_at"] <= at < c["sent_at"] + days and channel in (ALL, c["channel"])]
    return max(near, key=lambda c: (c["sent_at"], c["contact_id"]))["contact_id"] if near else None


def _revisions(
    connection: Connection, runs: Iterable[Manifest], wanted: set[str | None]
) -> dict[str | None, dict[str, str]]:
    """List or decision -> what was in force for it: policy, live_set and others, each a revision."""
    found: dict[str | None, dict[str, str]] = {manifest.run: manifest.revisions for manifest in runs}
    query = select(decisions.c.decision_id, decisions.c.revisions).where(
        is_listed(decisions.c.decision_id, bindparam("ids"))
    )
    for decision, revisions in connection.execute(
        query, {"ids": listed(one for one in wanted if one and one not in found)}
    ):
        found[decision] = json.loads(revisions)
    return found


def _campaign_of(engine: Engine, connection: Connection, campaign: str, live_set: str | None) -> Campaign | None:
    """The campaign as a set of files had it; null where the set is unknown or does not read any more."""
    if live_set == engine.live_set:
        return engine.campaigns.get(campaign)
    if live_set is None:
        return None
    try:
        files = changes.files_of(connection, live_set)
        with laid_out({name: text for name, text in files.items() if name.startswith("campaigns/")}) as folder:
            return load_campaigns(folder / "campaigns").get(campaign)
    except (LedgerError, CampaignError):
        return None


def _instant(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1_000_000, UTC)
