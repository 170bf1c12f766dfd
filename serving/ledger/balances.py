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

from serving.ledger.schema import events
from serving.ledger.statement import Statement

_order = [events.c.booked_at.desc(), events.c.event_id.desc()]
_ranked = (
    select(
        events.c.account_id,
        events.c.balance_after_minor,
        func.row_number().over(partition_by=events.c.account_id, order_by=_order).label("place"),
    )
    .where(events.c.customer_id == bindparam("customer_id"), events.c.currency == bindparam("currency"))
    .where(events.c.booked_at < bindparam("before"), events.c.account_id.is_not(None))
    .subquery()
)
_LAST = Statement(select(_ranked.c.account_id, _ranked.c.balance_after_minor).where(_ranked.c.place == 1))


_KNOWN = Statement(
    select(events.c.account_id)
    .where(events.c.customer_id == bindparam("customer_id"), events.c.currency == bindparam("currency"))
    .where(events.c.account_id.is_not(None), events.c.transaction_id == events.c.event_id)  # as an import enters it
    .distinct()
)


def known_balances(connection: Connection, customer_id: str, currency: str, before: int) -> dict[str, int]:
    """Account that an import knows -> its balance after its last booking before an instant; 0: none, or not told."""
    who = {"customer_id": customer_id, "currency": currency}
    known = {account for (account,) in _KNOWN.run(connection, **who).fetchall()}
    if not known:
        return {}
    told = dict(_LAST.run(connection, **who, before=before).fetchall())
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
