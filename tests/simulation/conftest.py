"""One simulated bank for all tests of simulation/: 6,000 customers, the whole default time."""

from pathlib import Path

import polars as pl
import pytest

from simulation.bank import SimulatedBank, simulate


class Tables:
    """The tables of a simulated bank as Polars frames, read once each."""

    def __init__(self, bank: SimulatedBank) -> None:
        """Keep where the bank lies."""
        self.bank = bank
        self._read: dict[str, pl.DataFrame] = {}

    def __getitem__(self, name: str) -> pl.DataFrame:
        """The table of that name, all parts."""
        if name not in self._read:
            self._read[name] = pl.read_parquet(self.bank.directory / name / "*.parquet")
        return self._read[name]


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Every table of the bank all tests share."""
    directory: Path = tmp_path_factory.mktemp("bank") / "out"
    return Tables(simulate(directory, 6_000, seed=11))


@pytest.fixture(scope="session")
def marketing(tables: Tables) -> pl.DataFrame:
    """Marketing contacts that were sent, beside the probabilities they were drawn from."""
    joined = tables["contacts"].join(tables["truth/contacts"], on="contact_id")
    return joined.filter(pl.col("purpose") == "marketing", pl.col("sent_at").is_not_null())
