"""A manager's worklist: today's contacts of his customers, ranked, with all he has to know; and moving them.

A task is a reserved contact. Whose it is follows from the customer's manager in the snapshot, unless it was
moved: a move is an entry of the ledger's journal, the last one stands. No cap counts differently for it.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import bindparam, select
from sqlalchemy.engine import Connection

from rules.catalogue import Words
from serving.claims import forbidden, instant
from serving.decisions import why_words
from serving.engine import Engine
from serving.http.errors import Unprocessable
from serving.http.messages import (
    ContactState,
    CoolDown,
    MoveTasksRequest,
    MoveTasksResponse,
    Task,
    Touch,
    WorklistQuery,
    WorklistResponse,
)
from serving.http.messages import Words as Said
from serving.http.messages.worklist import LAST_MAX
from serving.ledger import records
from serving.ledger.book import COUNTING, ContactRow, State, contacts_of_units, micros
from serving.ledger.contact import COLUMNS
from serving.ledger.identity import aliases_of
from serving.ledger.journal import Entered, enter
from serving.ledger.outcomes import outcomes_of_units
from serving.ledger.schema import contacts, journal
from serving.ledger.statement import is_listed
from serving.ledger.vault import ErasedError, PayloadError
from serving.rows import OUTBOUND_VALID, Asked, ledger_state

OPEN = (State.RESERVED, State.CLAIMED)
LATELY = timedelta(days=180)
Row = dict[str, Any]


def worklist(engine: Engine, connection: Connection, query: WorklistQuery, now: int) -> WorklistResponse:
    """The open tasks of a manager today, dearest first. Reads only."""
    mine = ranked(engine, connection, query.manager, query.channel, now)
    tasks = tuple(
        _task(engine, connection, one.contact, one.moved_from, one.behind, now) for one in mine[: query.limit]
    )
    return WorklistResponse(manager=query.manager, as_of=instant(now), open=len(mine), tasks=tasks)


@dataclass(frozen=True)
class Ranked:
    """One open task. moved_from: whose it was, null: it never was moved; behind: what is known of its choice, null: nothing here."""

    contact: ContactRow
    moved_from: str | None
    behind: Row | None

    @property
    def value_minor(self) -> int | None:
        """What it is worth; null: not known here."""
        return None if self.behind is None else self.behind["expected_value_minor"]


def ranked(engine: Engine, connection: Connection, manager: str | None, channel: str, now: int) -> list[Ranked]:
    """The open tasks of a manager today, dearest first, without what takes a while to tell of each."""
    mine = _of_manager(engine, connection, manager, channel, instant(now))
    listed = _behind(engine, connection, [contact for contact, _ in mine])
    tasks = [Ranked(contact, moved, listed.get(contact.contact_id)) for contact, moved in mine]
    return sorted(tasks, key=lambda task: (-(task.value_minor or 0), task.contact.contact_id))


def task_of(engine: Engine, connection: Connection, contact: ContactRow, now: int) -> Task:
    """All that is to be known of one task, whoever's it is."""
    moved = _moves(connection, [contact.contact_id]).get(contact.contact_id, (None, ""))[0]
    return _task(
        engine, connection, contact, moved, _behind(engine, connection, [contact]).get(contact.contact_id), now
    )


def managers_of(engine: Engine, at: datetime) -> list[str]:
    """Everybody who is a customer's manager in the newest snapshot, by id."""
    snapshot = engine.snapshot(at)
    if snapshot is None or "manager_id" not in snapshot.table.column_names:
        return []
    return sorted(str(name) for name in pc.unique(snapshot.table.column("manager_id")).to_pylist() if name is not None)


def move_tasks(engine: Engine, connection: Connection, request: MoveTasksRequest, principal: str, now: int) -> MoveTasksResponse:  # fmt: skip
    """Move a manager's open tasks to a colleague; Unprocessable where the bank has no such colleague."""
    if request.to_manager not in _managers(engine, instant(now)).values():
        raise Unprocessable("`to_manager` is nobody's manager in the newest snapshot; use an id of the customers table")
    if request.to_manager == request.from_manager:
        raise Unprocessable("`to_manager` has these tasks already; name a colleague")
    mine = _of_manager(engine, connection, request.from_manager, request.channel, instant(now), today=False)
    wanted = [c.contact_id for c, _ in mine if request.contact_ids is None or c.contact_id in request.contact_ids]
    for contact_id in wanted:
        enter(connection, Entered.REASSIGN, contact_id, principal, now, of=request.from_manager, to=request.to_manager)
    return MoveTasksResponse(from_manager=request.from_manager, to_manager=request.to_manager, moved=len(wanted))


def _of_manager(engine: Engine, connection: Connection, manager: str | None, channel: str, at: datetime,
                today: bool = True) -> list[tuple[ContactRow, str | None]]:  # fmt: skip
    """(contact, whose it was before it was moved) of each open task; today's, or all. Unprocessable: no such channel."""
    if channel not in engine.catalogue.channel_index:
        known = ", ".join(engine.catalogue.channel_index)
        raise Unprocessable(f"the catalogue has no such channel; `channel` is one of: {known}")
    zone = engine.home.settings.tz
    midnight = datetime.combine(at.astimezone(zone).date() + timedelta(days=1), time(), zone)
    query = (select(*COLUMNS).where(contacts.c.channel == channel, contacts.c.state.in_(OPEN), contacts.c.direction == "outbound",
                                    contacts.c.purpose == "marketing", contacts.c.send_before > micros(at))
             .order_by(contacts.c.contact_id))  # fmt: skip
    found = [ContactRow(**row) for row in connection.execute(query).mappings()]
    found = [contact for contact in found if not today or contact.send_after < micros(midnight)]
    moved, owner = _moves(connection, [contact.contact_id for contact in found]), _managers(engine, at, found)
    whose = {
        contact.contact_id: moved.get(contact.contact_id, (None, owner.get(contact.customer_id))) for contact in found
    }
    return [(contact, whose[contact.contact_id][0]) for contact in found if whose[contact.contact_id][1] == manager]


def _moves(connection: Connection, contact_ids: Sequence[str]) -> dict[str, tuple[str | None, str]]:
    """Contact -> (whose it was last, whose it is) of those that were moved."""
    query = (select(journal.c.subject, journal.c.body).where(journal.c.kind == str(Entered.REASSIGN))
             .where(is_listed(journal.c.subject, bindparam("ids", json.dumps(contact_ids)))).order_by(journal.c.entry_id))  # fmt: skip
    return {
        subject: (body["of"], body["to"]) for subject, text in connection.execute(query) for body in [json.loads(text)]
    }


def _managers(engine: Engine, at: datetime, of: Sequence[ContactRow] | None = None) -> dict[str, str]:
    """Customer -> manager in the newest snapshot: of the contacts' customers, or of all."""
    snapshot = engine.snapshot(at)
    if snapshot is None or "manager_id" not in snapshot.table.column_names:
        return {}
    table = snapshot.table.select(["customer_id", "manager_id"])
    if of is not None:
        table = table.filter(pc.is_in(table.column("customer_id"), pa.array({c.customer_id for c in of}, pa.string())))
    return {row["customer_id"]: str(row["manager_id"]) for row in table.to_pylist() if row["manager_id"] is not None}


def _behind(engine: Engine, connection: Connection, found: Sequence[ContactRow]) -> dict[str, Row]:
    """Contact -> its choice: expected value, and what the reason is told from; from lists and from records."""
    by_decision: dict[str, list[ContactRow]] = defaultdict(list)
    for contact in found:
        by_decision[contact.decision_id or ""].append(contact)
    rows: dict[str, Row] = {}
    for decision, these in by_decision.items():
        file = engine.home.lists / decision / "offers.parquet"
        if decision and file.is_file():
            ids = [contact.contact_id for contact in these]
            part = pq.read_table(
                file, columns=["contact_id", "expected_value_minor", "factors"], filters=[("contact_id", "in", ids)]
            )
            rows |= {row["contact_id"]: row for row in part.to_pylist()}
        elif (record := records.find(connection, decision)) is not None:
            try:
                choices = json.loads(engine.vault.opened(connection, record).result)["answer"]["choices"]
            except (ErasedError, PayloadError):
                continue
            rows |= {choice["contact_id"]: choice for choice in choices if choice["contact_id"]}
    return rows


def _task(engine: Engine, connection: Connection, contact: ContactRow, moved: str | None, row: Row | None, now: int) -> Task:  # fmt: skip
    offer_id = str(contact.offer_id)
    title = next((offer.title for offer in engine.catalogue.offers if offer.id == offer_id), None)
    title = title or Words(
        en=offer_id, zh=offer_id
    )  # it left the catalogue: its id is what is left, and no claim goes through
    reason: tuple[Said, ...] = ()
    if row is not None and (factors := row.get("factors")):
        said = why_words(engine, title, factors["p_interest"], factors["p_reach"], row["expected_value_minor"])
        reason = tuple(Said.model_validate(words) for words in said)
    elif row is not None:
        reason = tuple(Said.model_validate(words) for words in row["why"])
    return Task(
        contact_id=contact.contact_id, customer_id=contact.customer_id, state=ContactState(str(contact.state)), offer_id=offer_id,
        title=_said(title), reason=reason, script=_script(engine, contact), legal_footer=_footer(engine, contact),
        expected_value_minor=None if row is None else row["expected_value_minor"], send_after=instant(contact.send_after),
        send_before=instant(contact.send_before), last_contacts=_last(connection, contact, now),
        cool_downs=_cool_downs(engine, connection, contact, now), refused_now=tuple(forbidden(engine, connection, contact, now)),
        moved_from=moved)  # fmt: skip


def _said(words: Any) -> Said:
    return Said(en=words.en, zh=words.zh)


def _script(engine: Engine, contact: ContactRow) -> Said | None:
    return next((_said(one.template) for one in engine.catalogue.treatments if one.id == contact.treatment), None)


def _footer(engine: Engine, contact: ContactRow) -> str | None:
    campaign = engine.campaigns.get(contact.campaign_id or "")
    said = campaign.treatment(contact.treatment) if campaign else None
    return said and said.legal_footer


def _last(connection: Connection, task: ContactRow, now: int) -> tuple[Touch, ...]:
    since = now - LATELY // timedelta(microseconds=1)
    went = [
        c for c in contacts_of_units(connection, [task.unit_id], since) if c.sent_at is not None and c.state in COUNTING
    ]
    answers: dict[str, list[str]] = defaultdict(list)
    for outcome in outcomes_of_units(connection, [task.unit_id], since):
        answers[outcome.contact_id].append(str(outcome.kind))
    went.sort(key=lambda contact: (-(contact.sent_at or 0), contact.contact_id))
    return tuple(Touch(channel=c.channel, offer_id=c.offer_id, at=instant(c.sent_at or 0), answers=tuple(answers[c.contact_id][:20]))
                 for c in went[:LAST_MAX])  # fmt: skip


def _cool_downs(engine: Engine, connection: Connection, task: ContactRow, now: int) -> tuple[CoolDown, ...]:
    terms, name = engine.terms(instant(now)), task.customer_id
    window = (now, now + OUTBOUND_VALID // timedelta(microseconds=1))
    [state] = ledger_state(
        engine, terms, connection, [Asked(name)], {name: task.unit_id}, aliases_of(connection, [name]), window
    ).states
    return tuple(CoolDown(title=_said(pause.title), about=about, days_left=round(state[pause.column(about)], 3))
                 for pause in terms.policy.cool_offs for about in pause.abouts(engine.catalogue)
                 if state.get(pause.column(about), 0.0) > 0)  # fmt: skip
