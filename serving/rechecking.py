"""A list that was handed over, asked again what a claim would ask: what may not go out is recalled, or held for now.

Asked in groups, for a list may have a million contacts; a test compares with `serving.claims.forbidden`, one by one.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.engine import Connection

from rules.reasons import ReasonCode
from rules.why import why_closed
from serving.claims import CLAIM_LAYERS, instant
from serving.engine import Engine
from serving.ledger.book import ContactRow, Ledger
from serving.ledger.contact import COLUMNS
from serving.ledger.recall import RECALLABLE_CLAIMED, RECALLABLE_RESERVED
from serving.ledger.recalling import recall_these
from serving.ledger.schema import contacts
from serving.ledger.switches import paused
from serving.lists.recalls import Held, write_recalls
from serving.rows import Asked, online_rows
from serving.unnamed import is_named, recall_unnamed

GROUP = 500  # contacts asked at a time


class RecallFile(NamedTuple):
    """Where it stands, how many contacts it takes back for good, and how many it holds for now."""

    path: Path
    recalled: int
    held: int


def recall_file(engine: Engine, ledger: Ledger, run: str) -> RecallFile:
    """The run's recalls.csv as of now; ListError where there is no such list, LedgerError as any write.

    engine: of the set in force. What a claim would refuse for good is recalled first.
    """
    recall_unnamed(engine, ledger, instant(ledger.now_micros()), run)
    held = recall_forbidden(engine, ledger, run)
    with ledger.read() as connection:
        path, recalled = write_recalls(connection, engine.home.lists, run, held)
    return RecallFile(path, recalled, len(held))


def recall_forbidden(engine: Engine, ledger: Ledger, run: str) -> list[Held]:
    """Recall the run's open contacts that a claim would refuse for good; those it would refuse for now, by contact_id."""
    held, after = list[Held](), ""
    while True:
        now = ledger.now_micros()
        with ledger.read() as connection:
            rows = _open(connection, run, after, now)
            found = forbidden_each(engine, connection, rows, now)
        if not rows:
            return held
        after = rows[-1].contact_id
        passing = {ReasonCode.PAUSED.slug}
        if engine.staleness(instant(now)):
            passing.add(ReasonCode.REGULATORY_UNKNOWN.slug)
        gone: dict[str, list[str]] = defaultdict(list)
        for row, why in zip(rows, found, strict=True):
            if why and set(why) <= passing:
                held.append(Held(row.contact_id, row.customer_id, row.channel, why[0]))
            elif why:
                gone[why[0]].append(row.contact_id)
        for reason, ids in gone.items():
            recall_these(ledger, ids, reason)


def forbidden_each(engine: Engine, connection: Connection, rows: Sequence[ContactRow], now: int) -> list[list[str]]:
    """Of each contact what `serving.claims.forbidden` says of it. Reads only."""
    at, stopped = instant(now), paused(connection)
    terms, names = engine.terms(at, stopped), dict.fromkeys(row.customer_id for row in rows)
    known = online_rows(engine, terms, connection, [Asked(name) for name in names], at) if rows and not engine.staleness(at) else None  # fmt: skip
    place = {} if known is None else {name: k for k, name in enumerate(known[0].column("customer_id").to_pylist())}

    def why(row: ContactRow) -> list[str]:
        about = {"all", f"channel:{row.channel}", f"family:{row.family}", f"offer:{row.offer_id}", f"campaign:{row.campaign_id}"}  # fmt: skip
        catalogue = engine.catalogue
        if stopped & about:
            return [ReasonCode.PAUSED.slug]
        if row.offer_id not in catalogue.offer_index or row.channel not in catalogue.channel_index or not is_named(engine, row, at):  # fmt: skip
            return [ReasonCode.NOT_IN_CAMPAIGN.slug]
        if known is None or row.customer_id not in place:
            return [ReasonCode.REGULATORY_UNKNOWN.slug]
        k, cell = place[row.customer_id], catalogue.cell(row.offer_id, row.channel)
        closings = why_closed(known[0].slice(k, 1), terms, cell, CLAIM_LAYERS, known[1][k])
        return [closing.reason.slug for closing in closings]

    return [why(row) for row in rows]


def _open(connection: Connection, run: str, after: str, now: int) -> list[ContactRow]:
    """The next group of the run's contacts that could still go out, by contact_id."""
    could_go = or_(RECALLABLE_RESERVED & (contacts.c.send_before > now), RECALLABLE_CLAIMED)
    query = (select(*COLUMNS).where(contacts.c.decision_id == run, contacts.c.contact_id > after, could_go)
             .order_by(contacts.c.contact_id).limit(GROUP))  # fmt: skip
    return [ContactRow._make(row) for row in connection.execute(query)]
