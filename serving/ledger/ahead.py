"""What the requests of a group read at once, before the first of them runs.

Sixty-four requests that each read eight tables wait for five hundred statements; together they need eight. A request
says what it wants to know (`Wish`), and finds it told when it runs - unless an earlier request of its group touches
what it touches: then it reads in its own turn, and sees what that one did.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sqlalchemy.engine import Connection

from serving.ledger.locks import NOTHING, Touches, together, unit_of, units_of_contacts
from serving.ledger.statement import Entry

A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Later(Generic[T]):
    """An answer that stands once these rows are entered: the writer enters those of a group together."""

    answer: T
    entries: Sequence[Entry]


@dataclass(eq=False, slots=True)
class Wish(Generic[A, T]):
    """reader: reads for many at once, in their order; it writes nothing. told: its answer to `asked`, null: read for yourself.

    A request that was told has no savepoint of its own: it says what it writes by `Later`.
    """

    reader: Callable[[Connection, Sequence[A]], Sequence[T]]
    asked: A
    told: T | None = None


class Wishing(Protocol):
    """A request of a group."""

    @property
    def wish(self) -> Wish[object, object] | None:
        """What it wants to know."""
        ...

    @property
    def touches(self) -> Touches | None:
        """What it may change; null: anything."""
        ...


def forget(group: Iterable[Wishing]) -> None:
    """Take back what another transaction told."""
    for request in group:
        if request.wish is not None:
            request.wish.told = None


def tell(connection: Connection, group: Sequence[Wishing]) -> None:
    """Answer what can be answered ahead of the group's first request, who wishes; the rest wait for their turn.

    Where a reader fails nobody is told: each request will meet it in its own turn, and answer for it.
    """
    if len(group) < 2 or sum(request.wish is not None for request in group) < 2:
        return
    cursor = connection.connection.cursor()
    cursor.execute("SAVEPOINT ahead")
    try:
        asked: dict[Callable[..., Sequence[object]], list[Wish[object, object]]] = {}
        for wish in undisturbed(connection, group):
            if wish.told is None:
                asked.setdefault(wish.reader, []).append(wish)
        for reader, wishes in asked.items():
            if len(wishes) > 1:
                for wish, told in zip(wishes, reader(connection, [wish.asked for wish in wishes]), strict=True):
                    wish.told = told
    except Exception:  # noqa: BLE001  # whatever it was
        forget(group)
        cursor.execute("ROLLBACK TO SAVEPOINT ahead")
    cursor.execute("RELEASE SAVEPOINT ahead")


def undisturbed(connection: Connection, group: Sequence[Wishing]) -> list[Wish[object, object]]:
    """The wishes of requests none of whose units an earlier one of the group may have changed."""
    known = [request.touches for request in group if request.touches is not None]
    touched = together(known) or NOTHING
    of_customer, of_contact = (
        unit_of(connection, touched.customers),
        units_of_contacts(connection, touched.contacts),
    )
    found: list[Wish[object, object]] = []
    before: set[str] = set()
    names: set[str] = set()
    for request in group:
        touches = request.touches
        if touches is None or (touches.names and not (touches.units or touches.customers or touches.contacts)):
            return found  # a switch, say: it may change what everybody after it reads
        units = {
            *touches.units,
            *(of_customer[customer] for customer in touches.customers),
            *(of_contact[contact] for contact in touches.contacts if contact in of_contact),
        }
        if request.wish is not None and before.isdisjoint(units) and names.isdisjoint(touches.names):
            found.append(request.wish)
        before |= units
        names.update(touches.names)
    return found
