"""What passes between two steps goes with the work, or with the next one."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from features.spill import as_one, laid_down, spilled, taken_up


def test_what_a_killed_process_dealt_out_goes_with_the_next(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".spill-{dead.pid}-abc"
    left.mkdir()
    (left / "rows.arrow").write_bytes(b"x")
    with spilled(tmp_path) as one, spilled(tmp_path) as other:
        assert not left.exists()
        assert one.is_dir(), "another's, who lives, was taken away"
        assert other.is_dir()
    assert not list(tmp_path.iterdir())


def test_rows_laid_down_are_taken_up_in_the_order_asked(tmp_path: Path) -> None:
    tables = [pa.table({"n": [1, 2]}), pa.table({"n": [3]})]
    paths = [laid_down(table, tmp_path / f"{place}.arrow") for place, table in enumerate(tables)]
    assert taken_up(paths).column("n").to_pylist() == [1, 2, 3]
    assert taken_up(reversed(paths)).column("n").to_pylist() == [3, 1, 2]


def test_rows_as_one_are_one_batch_and_stay_when_the_files_go(tmp_path: Path) -> None:
    kinds = pa.schema([pa.field("who", pa.string(), metadata={"unit": "id"}), pa.field("n", pa.list_(pa.int64()))])
    tables = [
        pa.table({"who": ["d", "b"], "n": [[1], None]}, kinds),
        pa.table({"who": ["c", "a"], "n": [[], [2, 3]]}, kinds),
    ]
    with spilled(tmp_path) as spill:
        paths = [laid_down(table, spill / f"{place}.arrow") for place, table in enumerate(tables)]
        kept, held = as_one(paths, spill), pa.total_allocated_bytes()
        ordered = as_one(paths, spill, by="who")
    assert not list(tmp_path.iterdir())
    assert kept.equals(pa.concat_tables(tables).combine_chunks(), check_metadata=True)
    assert [column.num_chunks for column in (*kept.columns, *ordered.columns)] == [1] * 4
    assert ordered.to_pylist() == sorted(kept.to_pylist(), key=lambda row: row["who"])
    assert pa.total_allocated_bytes() <= held, "what is mapped takes no memory"
