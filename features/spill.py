"""What passes between two steps of one work: files in a folder that goes with it.

It lies in the home, where there is room for it and where on a cluster all workers read it; nobody else may.
"""

import os
import shutil
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
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
