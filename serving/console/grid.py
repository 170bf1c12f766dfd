"""Every offer on every channel as rows: channels that are closed for the same reasons are told together."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rules.catalogue import Catalogue, Offer


class CellLike(Protocol):
    """One offer on one channel."""

    @property
    def offer_id(self) -> str:
        """The offer."""
        ...

    @property
    def channel(self) -> str:
        """The channel."""
        ...


C = TypeVar("C", bound=CellLike)


@dataclass(frozen=True)
class GridRow(Generic[C]):
    """Channels of one offer that are told alike: all of them closed for the same reasons, or one that is open."""

    channels: tuple[str, ...]
    cell: C


def grid(
    catalogue: Catalogue, cells: Iterable[C], why: Callable[[C], Hashable]
) -> list[tuple[Offer, list[GridRow[C]]]]:
    """(offer, its rows in the order of the channels), without cells the catalogue does not have. why: falsy where open."""
    alike: dict[str, dict[Hashable, list[C]]] = {}
    for cell in cells:
        if cell.channel in catalogue.offers[catalogue.offer_index[cell.offer_id]].channels:
            alike.setdefault(cell.offer_id, {}).setdefault(why(cell) or cell.channel, []).append(cell)
    return [(offer, [GridRow(tuple(cell.channel for cell in found), found[0]) for found in alike[offer.id].values()])
            for offer in catalogue.offers if offer.id in alike]  # fmt: skip
