"""What a customer has in a currency after each of his movements: all his accounts together.

A booking tells the balance of its own account. What left is measured against all he has in the
currency, so the last balances of his other accounts are added, as far as bookings told them: an
account nobody told of counts as empty. A movement that names no account, or one that no import knows (a
caller's own name for an account that is counted already), is taken for all he has. Whatever is not
known silences rather than lets through.
"""

from collections.abc import Iterable, Iterator

from sqlalchemy import bindparam, func, select
from sqlalchemy.engine import Connection

from features.tables import OUTFLOW_KINDS
from serving.ledger.schema import events
from serving.ledger.statement import Statement

_TOLD = tuple(events.c[name] for name in ("recorded_at", "kind", "event_id", "account_id", "balance_after_minor"))
_ranked = (
    select(*_TOLD, func.rank().over(partition_by=events.c.account_id, order_by=events.c.booked_at.desc()).label("rank"))
    .where(events.c.customer_id == bindparam("customer_id"), events.c.currency == bindparam("currency"))
    .where(events.c.booked_at < bindparam("before"), events.c.account_id.is_not(None))
    .subquery()
)
# All of an account's last instant: databases sort texts each their own way.
_LAST = Statement(select(*(_ranked.c[column.name] for column in _TOLD)).where(_ranked.c.rank == 1))
_KNOWN = Statement(
    select(events.c.account_id)
    .where(events.c.customer_id == bindparam("customer_id"), events.c.currency == bindparam("currency"))
    .where(events.c.account_id.is_not(None), events.c.transaction_id == events.c.event_id)  # as an import enters it
    .distinct()
)


def place_in_instant(recorded_at: int, kind: str, event_id: str) -> tuple[int, bool, str]:
    """Where a booking stands among those of one instant, as `rules.suppressions.Movement` has it."""
    return recorded_at, kind in OUTFLOW_KINDS, event_id


def known_balances(connection: Connection, customer_id: str, currency: str, before: int) -> dict[str, int]:
    """Account that an import knows -> its balance after its last booking before an instant; 0: none, or not told."""
    who = {"customer_id": customer_id, "currency": currency}
    known = {account for (account,) in _KNOWN.run(connection, **who).fetchall()}
    if not known:
        return {}
    last = sorted(_LAST.run(connection, **who, before=before).fetchall(), key=lambda row: place_in_instant(*row[:3]))
    told = {account: balance for *_, account, balance in last}
    return {account: told.get(account) or 0 for account in known}


def running_totals(bookings: Iterable[tuple[str | None, int | None]], known: dict[str, int]) -> Iterator[int | None]:
    """After each booking (account, balance told) the balance of all known accounts, or that of an unknown one alone.

    bookings: of one customer and currency, in their order. known: `known_balances` before the first.
    """
    balances = dict(known)
    for account, balance in bookings:
        if account in balances:
            balances[account] = balance or 0
        yield sum(balances.values()) if account in balances else balance
