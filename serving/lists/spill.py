"""Spill: a run's customers and scores, chunk by chunk, in a file that goes with the run.

A run passes over them three times; in memory a million customers would be gigabytes.
"""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc


class Spill:
    """Chunks of (customers, scores), written once and read in order, as often as is wanted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.n = folder, 0

    def add(self, customers: pa.RecordBatch, scores: pa.RecordBatch) -> None:
        """Write one chunk."""
        for name, part in (("customers", customers), ("scores", scores)):
            with ipc.new_file(str(self.folder / f"{name}-{self.n}"), part.schema) as file:
                file.write_batch(part)
        self.n += 1

    def __iter__(self) -> Generator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """The chunks, mapped rather than read."""
        for number in range(self.n):
            yield self._read("customers", number), self._read("scores", number)

    def _read(self, name: str, number: int) -> pa.RecordBatch:
        return ipc.open_file(pa.memory_map(str(self.folder / f"{name}-{number}"))).get_batch(0)


@contextmanager
def spilling() -> Generator[Spill]:
    """A spill that is gone when the run is over, whatever ends it; only this user can read it."""
    with tempfile.TemporaryDirectory(prefix="nbo-plan-") as folder:
        yield Spill(Path(folder))
