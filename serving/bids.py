"""What scarcity costs online: the last runs' seat prices, and no price at all pays for a seat that is gone.

A run leaves the shadow prices of its limits; until the next run of those cells, or a week, an outbound decision
pays them, as the list did. Seats of a day are leased to each worker in blocks (`serving.ledger.leases`); where
neither he nor the bank has any left, the cells of the campaigns that name them are shut. Inbound pays nothing.
"""

import contextlib
import json
import os
import threading
import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy.engine import Connection

from rules.catalogue import Catalogue
from serving.campaign import Campaign
from serving.claims import instant
from serving.engine import Engine
from serving.ledger.book import Ledger, LedgerError, micros, read_meta, write_meta
from serving.ledger.leases import SEATS, Seats, filled, holder_of, lease, release
from serving.ledger.locks import Touches
from serving.lists.certificate import Certificate
from serving.lists.clearing import is_of_cell
from serving.lists.limits import CONTACT, COST

NAME = "bid_prices"
PRICES = Touches(names=(NAME,))
VALID = timedelta(days=7)
SHUT = 10**12  # minor units: more than any contact is worth
BLOCK, LEASE, LOOK_SECONDS = 50, timedelta(seconds=60), 1.0
RUN = timedelta(minutes=30)


def publish(connection: Connection, run: str, at: datetime, issued: Certificate) -> None:
    """Make the run's prices those of the service, for the cells of its campaigns; an older run changes nothing."""
    known: dict[str, dict[str, Any]] = json.loads(read_meta(connection, NAME) or "{}")
    until, begun = micros(at + VALID), micros(at)
    for cell in issued.cells:
        name = f"{cell['offer']}|{cell['channel']}"
        if cell["campaigns"] and known.get(name, {}).get("at", 0) <= begun:
            known[name] = {"minor": _price(issued, cell), "at": begun, "until": until, "run": run}
    write_meta(connection, NAME, json.dumps(known, sort_keys=True))


def bid_prices(connection: Connection, catalogue: Catalogue, now: int, shut: Iterable[int] = ()) -> tuple[int, ...]:
    """Bid price of each cell, minor units, SHUT for those in `shut`; () where every one is 0."""
    prices = _current(read_meta(connection, NAME) or "{}", catalogue.cell_names, now // 60_000_000)
    if shut:
        gone = set(shut)
        prices = tuple(SHUT if cell in gone else price for cell, price in enumerate(prices or (0,) * catalogue.n_cells))
    return prices


def seats_of(campaigns: Iterable[Campaign]) -> list[Seats]:
    """What a day has by channel: the campaigns that name it, added up."""
    found: dict[str, list[Campaign]] = {}
    for campaign in campaigns:
        for channel in campaign.per_day:
            found.setdefault(channel, []).append(campaign)
    return [Seats(channel, tuple(sorted(c.id for c in those)), sum(c.per_day[channel] for c in those))
            for channel, those in sorted(found.items())]  # fmt: skip


def shut_for_all(engine: Engine, connection: Connection, at: datetime) -> list[int]:
    """Cells whose seats of the day are filled, whoever holds a block; for who only reads and leases none."""
    gone, since = set[int](), midnight(engine, at)
    for one in seats_of(c for c in engine.campaigns.values() if c.in_force(engine.day(at))):
        if filled(connection, one, since) >= one.at_most:
            gone |= _cells_of(engine, one, at)
    return sorted(gone)


def _cells_of(engine: Engine, seats: Seats, at: datetime) -> set[int]:
    """The cells that a contact of these seats may have."""
    catalogue, found = engine.catalogue, set[int]()
    for campaign in seats.campaigns:
        covered = engine.campaign(campaign).audience_of(catalogue, engine.day(at)).cells(catalogue)
        found.update(catalogue.cell(offer, channel) for offer, channel in covered if channel == seats.channel)
    return found


def midnight(engine: Engine, at: datetime) -> int:
    """When the bank's day of an instant began, microseconds."""
    zone = engine.home.settings.tz
    return micros(datetime.combine(at.astimezone(zone).date(), time(), zone))


@contextmanager
def held_for_run(engine: Engine, ledger: Ledger, campaigns: Sequence[str], at: datetime, run: str) -> Generator[None]:
    """Hold what is left of the day's seats while a run is made, so that no worker leases them meanwhile."""
    offered, day = seats_of(engine.campaign(name) for name in campaigns), str(engine.day(at))
    if not offered:
        yield
        return

    def hold(connection: Connection) -> None:
        now, wanted = ledger.now_micros(), {one.channel: one.at_most for one in offered}
        lease(
            connection,
            holder_of(run),
            day,
            wanted,
            offered,
            midnight(engine, at),
            now,
            now + RUN // timedelta(microseconds=1),
        )

    ledger.write(hold, touches=SEATS).result()
    try:
        yield
    finally:
        ledger.write(lambda connection: release(connection, holder_of(run), day), touches=SEATS).result()


class Worker:
    """The seats one process holds. `take` and `shut` belong to the writer's thread; a thread of its own renews."""

    def __init__(self, engine: Engine, ledger: Ledger, block: int = BLOCK) -> None:
        self.engine, self._ledger, self._block = engine, ledger, block
        self.holder = f"worker {os.getpid()} {uuid.uuid4().hex[:8]}"
        self.left: dict[str, int] = {}
        self._day, self._until, self._offered = "", 0, list[Seats]()
        self._stopping, self._low = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> "Worker":
        """Lease the first block and go on leasing; itself."""
        self.renew()
        self._thread = threading.Thread(target=self._run, name="seat-leases", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Give the seats back."""
        self._stopping.set()
        self._low.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(LedgerError):
            self._ledger.write(lambda connection: release(connection, self.holder, self._day), touches=SEATS).result()
        self.left = {}

    def renew(self) -> None:
        """Hold a block again of each channel, or what is left of it."""
        self._ledger.write(self._lease, touches=SEATS).result()

    def keep(self) -> None:
        """Renew what runs low or out; for who has no thread that does."""
        low = self._low.is_set() or self._ledger.now_micros() >= self._until - LEASE // timedelta(microseconds=2)
        if low and seats_of(self.engine.campaigns.values()):
            self._low.clear()
            self.renew()

    def shut(self, now: int, at: datetime) -> list[int]:
        """Cells whose seats are gone, as far as this worker knows."""
        gone = set[int]()
        live = now < self._until and str(self.engine.day(at)) == self._day
        for one in seats_of(c for c in self.engine.campaigns.values() if c.in_force(self.engine.day(at))):
            if not live or self.left.get(one.channel, 0) <= 0:
                self._low.set()
                gone |= _cells_of(self.engine, one, at)
        return sorted(gone)

    def is_gone(self, channel: str, campaign: str | None) -> bool:
        """Whether a contact of the campaign needs a seat and none is left."""
        return self._counts(channel, campaign) and self.left.get(channel, 0) <= 0

    def take(self, channel: str, campaign: str | None) -> None:
        """One seat is filled, where the campaign's are counted."""
        if self._counts(channel, campaign):
            self.left[channel] = self.left.get(channel, 0) - 1
            if self.left[channel] <= self._block // 4:
                self._low.set()

    def _counts(self, channel: str, campaign: str | None) -> bool:
        return any(one.channel == channel and campaign in one.campaigns for one in self._offered)

    def _lease(self, connection: Connection) -> None:
        now = self._ledger.now_micros()
        at = instant(now)
        day = self.engine.day(at)
        self._offered = seats_of(c for c in self.engine.campaigns.values() if c.in_force(day))
        self._day, self._until = str(day), now + LEASE // timedelta(microseconds=1)
        if self._offered:
            wanted = {one.channel: self._block for one in self._offered}
            self.left = lease(
                connection, self.holder, self._day, wanted, self._offered, midnight(self.engine, at), now, self._until
            )

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._low.wait(LEASE.total_seconds() / 2)
            self._low.clear()
            if not self._stopping.is_set():
                try:
                    self.renew()
                except LedgerError:
                    self.left = {}  # nothing is held that was not granted
            self._stopping.wait(LOOK_SECONDS)


def _price(issued: Certificate, cell: dict[str, str | int]) -> int:
    """What the limits by offer, channel and family make a contact of the cell cost; a minimum never pays for one."""
    paid = 0
    for limit in issued.limits:
        if all(map(is_of_cell, limit.where)) and all(cell.get(k) == v for k, v in limit.where.items()):
            units = 1 if limit.unit == CONTACT else int(cell[COST])
            paid += limit.price_milli * units * (1 if limit.at_most is not None else -1)
    return max(round(paid / issued.scale), 0)


@lru_cache(maxsize=16)
def _current(text: str, cells: tuple[str, ...], minute: int) -> tuple[int, ...]:
    known = json.loads(text)
    live = {name: one["minor"] for name, one in known.items() if one["until"] > minute * 60_000_000}
    prices = tuple(int(live.get(name, 0)) for name in cells)
    return prices if any(prices) else ()
