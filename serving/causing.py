"""A trigger's occasion becomes a decision: asked through the same gate as every other, once each."""

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


def run_maturities(engine: Engine, ledger: Ledger) -> dict[str, int]:
    """Ask for everybody with a maturity near, once per trigger and day of maturity; trigger -> decisions made."""
    made: dict[str, int] = {}
    for trigger in engine.triggers:
        snapshot = engine.snapshot(instant(ledger.now_micros()))
        if trigger.maturity_within_days is None or snapshot is None:
            continue
        made[trigger.id] = 0
        for customer, ahead in near_maturity(snapshot, trigger.maturity_within_days):
            matures_on = engine.day(snapshot.as_of).toordinal() + ahead
            done = ledger.write(
                lambda c, who=customer, on=matures_on, by=trigger: caused(
                    engine, c, by, who, f"{on}", ledger.now_micros()
                ),
                touches=Touches(customers=(customer,)),
            )
            made[trigger.id] += done.result() is not None
    return made
