"""What passes between two steps of one work: files in a folder that goes with it.

It lies in the home, where there is room for it and where on a cluster all workers read it; nobody else may.
"""

import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from features.snapshot import lives


@contextmanager
def spilled(beside: Path) -> Generator[Path]:
    """A folder for what passes between two steps, gone afterwards; what a process that was killed left behind goes now."""
    for left in beside.glob(".spill-*-*"):
        if not lives(left.name.split("-")[1]):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=beside, prefix=f".spill-{os.getpid()}-") as folder:
        yield Path(folder)


def laid_down(rows: pa.Table, path: Path) -> Path:
    """The file with the rows in it, as `taken_up` reads them."""
    with ipc.new_file(str(path), rows.schema) as writer:
        writer.write_table(rows)
    return path


def taken_up(paths: Iterable[Path]) -> pa.Table:
    """The rows of those files one after the other, mapped: they take no memory until they are copied."""
    return pa.concat_tables([ipc.open_file(pa.memory_map(str(path))).read_all() for path in paths])


def as_one(paths: Sequence[Path], folder: Path, by: str | None = None) -> pa.Table:
    """The rows of those files in one record batch, mapped. folder: of a spill; by: a column to sort them by.

    They are put together a column at a time, each in a file of its own: in memory is a column or two, never the whole.
    A text column above 2 GiB comes in several chunks.
    """
    parts, inside = (
        taken_up(paths),
        Path(tempfile.mkdtemp(dir=folder)),
    )  # a file written again would change what is mapped
    order = None if by is None else pc.sort_indices(parts.column(by))
    columns: list[pa.ChunkedArray] = []
    for place, field in enumerate(parts.schema):
        column = parts.column(place) if order is None else parts.column(place).take(order)
        whole = pa.table([column], pa.schema([field])).combine_chunks()
        columns.append(taken_up([laid_down(whole, inside / f"{place}.arrow")]).column(0))
    return pa.table(columns, schema=parts.schema)
