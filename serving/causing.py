"""A trigger's occasion becomes a decision: asked through the same gate as every other, once each."""

from typing import NamedTuple

import pyarrow.compute as pc
from sqlalchemy.engine import Connection

from features.snapshot import Snapshot
from serving.bids import Worker, bid_prices
from serving.claims import instant
from serving.decisions import commit, decide_one, decision_id_of
from serving.engine import Engine
from serving.http.messages import DecisionRequest
from serving.ledger import records
from serving.ledger.book import Ledger, Touches
from serving.ledger.switches import paused
from serving.triggers import Trigger

ASKED_BY = "trigger"


def caused(
    engine: Engine, connection: Connection, trigger: Trigger, customer: str, occasion: str, now: int,
    seats: Worker | None = None,
) -> str | None:  # fmt: skip
    """The decision a trigger asks for, recorded, its contact reserved; null where that occasion was answered before.

    occasion: what set it off, the event or the maturity; once each. seats: those of this process; null: it leases none.
    """
    decision_id = decision_id_of(ASKED_BY, trigger.id, f"{customer} {occasion}")
    if records.find(connection, decision_id) is not None:
        return None
    channels = tuple(name for name in trigger.channels if name in engine.catalogue.channel_index)
    if trigger.channels and not channels:
        return None  # the catalogue has none of them any more
    request = DecisionRequest(customer_id=customer, channels=channels or None)
    shut = seats.shut(now, instant(now)) if seats is not None else ()
    prices = bid_prices(connection, engine.catalogue, now, shut)
    decided = decide_one(engine, connection, request, decision_id, instant(now), prices)
    if seats is not None and decided.row is not None and decided.said["channel"] is not None:
        seats.take(decided.said["channel"], decided.row["campaign_id"])
    commit(connection, decided, now, f"{ASKED_BY} {trigger.id}")
    return decision_id


def caused_by_event(engine: Engine, connection: Connection, customer: str, event_id: str,
                    money: tuple[str, int | None, str | None], booked_at: int, now: int,
                    seats: Worker | None = None) -> str | None:  # fmt: skip
    """The decision of the first trigger that the event sets off; null: it sets off none. money: kind, amount, currency."""
    age = instant(now) - instant(booked_at)
    for trigger in engine.triggers:
        if trigger.is_met_by(*money, age):
            return caused(engine, connection, trigger, customer, event_id, now, seats)
    return None


def near_maturity(snapshot: Snapshot, days: int) -> list[tuple[str, int]]:
    """(customer, days ahead) of whom something matures within so many days, by customer."""
    table = snapshot.table.select(["customer_id", "maturity_ahead_days"])
    near = table.filter(pc.less_equal(table.column("maturity_ahead_days"), float(days)))
    return sorted((row["customer_id"], int(row["maturity_ahead_days"])) for row in near.to_pylist())


class Run(NamedTuple):
    """What `run_maturities` did. made: trigger -> decisions; problems: why the rest waits, one line each, empty: none does."""

    made: dict[str, int]
    problems: tuple[str, ...]


def run_maturities(engine: Engine, ledger: Ledger) -> Run:
    """Ask for everybody with a maturity near, once per trigger and day of maturity, within the day's seats.

    Silence for want of models or data, or under a pause of everything, answers no occasion: nothing is recorded, and the
    next run asks again.
    """
    near = [trigger for trigger in engine.triggers if trigger.maturity_within_days is not None]
    made = {trigger.id: 0 for trigger in near}
    seats = Worker(engine, ledger)
    try:
        for trigger in near:
            now = ledger.now_micros()
            with ledger.read() as connection:
                problems, snapshot = _hindered(engine, connection, now), engine.snapshot(instant(now))
            if problems or snapshot is None:
                return Run(made, problems)
            for customer, ahead in near_maturity(snapshot, trigger.maturity_within_days or 0):
                occasion = f"{engine.day(snapshot.as_of).toordinal() + ahead}"
                seats.keep()

                def task(
                    connection: Connection, by: Trigger = trigger, who: str = customer, on: str = occasion
                ) -> tuple[tuple[str, ...], str | None]:
                    at = ledger.now_micros()
                    if problems := _hindered(engine, connection, at):
                        return problems, None
                    return (), caused(engine, connection, by, who, on, at, seats)

                problems, decision = ledger.write(task, touches=Touches(customers=(customer,))).result()
                if problems:
                    return Run(made, problems)
                made[trigger.id] += decision is not None
    finally:
        seats.stop()
    return Run(made, ())


def _hindered(engine: Engine, connection: Connection, now: int) -> tuple[str, ...]:
    """Why everybody would be silent now whoever he is, one line each; empty: nothing hinders."""
    stopped = ("everything is paused; nbo switch resume all",) if "all" in paused(connection) else ()
    return (*engine.problems(instant(now)), *stopped)
