"""The imported tables of a home as the views read them: chosen columns, of chosen customers."""

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Self

import polars as pl

from features.accounts import AccountBook
from features.at_once import BATCH
from features.home import Home
from features.money import Rates
from features.tables import INSTANT, MARKETING_CHANNELS, TABLES
from features.wanted import Wanted
from features.windows import stamp

EMPTY = {"cases": "none open", "contacts": "nobody was ever contacted"}  # the words that declare a table empty
ASSUMED = {
    "consents": ("all granted",),
    "reachability": ("all reachable", *(f"all reachable by {channel}" for channel in MARKETING_CHANNELS)),
    **{table: (words,) for table, words in EMPTY.items()},
}  # the only sentences the features understand; every other one is told on and changes nothing
FEW = 2_000  # so many customers are looked for in the files; more of them are joined


class Source:
    """Reads a home's canonical tables. Instants come as int64 microseconds UTC."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.settings = home.settings
        self.assumptions = tuple(home.assumptions())
        self.book: AccountBook | None = None  # while a snapshot is built
        self.units: pl.DataFrame | None = None  # of the whole bank, while a snapshot is built in shares
        self.dealt: Mapping[str, Path] = {}  # tables of which a share stands elsewhere, and the folder it stands in

    def has(self, table: str) -> bool:
        """Whether the home holds that table."""
        return any(self.home.table(table).glob("part-*.parquet"))

    def assumed(self, table: str) -> str | None:
        """What the source declared of a table that the home lacks, one of ASSUMED; null: nothing."""
        if self.has(table):
            return None
        said = {sentence.strip().lower() for sentence in self.assumptions}
        return next((word for word in ASSUMED.get(table, ()) if f"no {table}: {word}" in said), None)

    def assumed_empty(self, table: str) -> bool:
        """Whether the home lacks the table and the source declared that it would hold no row."""
        return table in EMPTY and self.assumed(table) == EMPTY[table]

    def n_rows(self, table: str) -> int:
        """Rows of the table, from the files' footers; 0 if the home does not hold it."""
        return self.scan(table).select(pl.len()).collect().item() if self.has(table) else 0

    def share(self, dealt: Mapping[str, Path]) -> Self:
        """The same tables, of some of them only what stands in those folders; for some customers, who need no more."""
        mine = copy.copy(self)
        mine.dealt = dealt
        return mine

    def scan(self, table: str) -> pl.LazyFrame:
        """The whole table, or the share of it, lazily."""
        return pl.scan_parquet(self.dealt.get(table, self.home.table(table)) / "*.parquet")

    def rows(self, table: str, columns: tuple[str, ...], codes: pl.DataFrame, booked_from: int | None = None,
             types: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:  # fmt: skip
        """Those columns of the rows of those customers, with their code as `customer`.

        The table must hold customer_id; codes: customer_id, customer. `booked_from`: only bookings of
        that instant (microseconds) or later. `types`: columns to be had in another type.
        """
        wanted = Wanted(codes)
        return wanted.met(self._rows(self.scan(table), table, columns, wanted, booked_from, types).collect())

    def batches(self, table: str, columns: tuple[str, ...], codes: pl.DataFrame,
                types: Mapping[str, pl.DataType] | None = None) -> Iterator[pl.DataFrame]:  # fmt: skip
        """`rows`, BATCH of them at a time and in no order, while the next ones are read."""
        wanted = Wanted(codes)
        scan = self._rows(self.scan(table), table, columns, wanted, None, types)
        yield from (
            wanted.met(batch).rechunk() for batch in scan.collect_batches(chunk_size=BATCH, maintain_order=False)
        )

    @staticmethod
    def _rows(scan: pl.LazyFrame, table: str, columns: tuple[str, ...], wanted: Wanted, booked_from: int | None,
              types: Mapping[str, pl.DataType] | None) -> pl.LazyFrame:  # fmt: skip
        # Bookings lie by day: of each file the ids are decoded whole, and the rest only where one of these is met.
        few = scan.filter(pl.col("customer_id").is_in(wanted.ids.implode())) if len(wanted.ids) <= FEW else scan
        rows = few.select("customer_id", *columns)
        rows = rows.with_columns(pl.col(name).cast(wished) for name, wished in (types or {}).items())
        if booked_from is not None:
            rows = rows.filter(pl.col("booked_at") >= stamp(booked_from))
        return _instants_as_micros(wanted.joined(rows), table, columns)

    def whole(self, table: str, columns: tuple[str, ...]) -> pl.DataFrame:
        """Those columns of every row."""
        return _instants_as_micros(self.scan(table).select(columns), table, columns).collect()

    @cached_property
    def products(self) -> tuple[str, ...]:
        """Products of the bank, sorted; () without a products table."""
        if not self.has("products"):
            return ()
        return tuple(sorted(self.whole("products", ("product",)).to_series().to_list()))

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Families of the bank's products, sorted; () without a products table."""
        return tuple(sorted(set(self.whole("products", ("family",)).to_series()))) if self.has("products") else ()

    @cached_property
    def rates(self) -> Rates:
        """Exchange rates into the base currency."""
        table = self.whole("fx_rates", ("day", "currency", "per_base")) if self.has("fx_rates") else None
        return Rates(table, self.settings.currency, self.settings.currencies)


def unheard(assumptions: Iterable[str], lacking: Collection[str]) -> list[str]:
    """Those assumptions about tables that are lacking which mean nothing to the features, for they are none of ASSUMED."""
    known = {f"no {table}: {words}" for table, several in ASSUMED.items() for words in several}
    about = tuple(f"no {table}:" for table in ASSUMED if table in lacking)
    said = ((sentence, sentence.strip().lower()) for sentence in assumptions)
    return [sentence for sentence, plain in said if plain.startswith(about) and plain not in known]


def _instants_as_micros(frame: pl.LazyFrame, table: str, columns: tuple[str, ...]) -> pl.LazyFrame:
    instants = [c for c in columns if TABLES[table].column(c).type == INSTANT]
    return frame.with_columns(pl.col(instants).dt.epoch("us")) if instants else frame
