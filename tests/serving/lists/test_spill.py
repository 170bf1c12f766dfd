"""A spill gives back what it was given, as often as asked, and leaves nothing behind."""

import pyarrow as pa
import pytest

from serving.lists.spill import Spill, spilling


def part(n: int) -> pa.RecordBatch:
    return pa.record_batch({"a": pa.array(range(n)), "b": pa.array(["x"] * n)})


def test_the_chunks_come_back_in_order_and_again() -> None:
    with spilling() as spill:
        for n in (3, 1, 2):
            spill.add(part(n), part(n + 1))
        for _ in range(2):
            assert [(a.num_rows, b.num_rows) for a, b in spill] == [(3, 4), (1, 2), (2, 3)]
        assert next(iter(spill))[0].equals(part(3))


def test_nothing_stays_whatever_ends_the_run() -> None:
    kept: list[Spill] = []
    with pytest.raises(RuntimeError), spilling() as spill:
        kept.append(spill)
        spill.add(part(1), part(1))
        assert len(list(spill.folder.iterdir())) == 2 and spill.folder.stat().st_mode & 0o077 == 0
        raise RuntimeError("power cut")
    assert not kept[0].folder.exists()
