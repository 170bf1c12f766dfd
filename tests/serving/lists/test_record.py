"""A list's row can be shown by its contact_id, and a changed file is found."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from serving.lists.record import row_of_list


def a_list(lists: Path) -> Path:
    import hashlib

    folder = lists / "run"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"contact_id": ["k1", "k2"], "offer_id": ["x", "y"]}), folder / "offers.parquet")
    sha = hashlib.sha256((folder / "offers.parquet").read_bytes()).hexdigest()
    counts = {"customers": 2, "after": {}, "chosen": 2, "holdout": 0, "decisive": {}, "met": {}}
    manifest = {"run": "run", "campaigns": ["a"], "as_of": "2026-06-01T00:00:00Z", "revisions": {"terms": "t"}, "assumptions": [],
                "degraded": False, "guarantee": "g", "funnel": counts, "lost": 0, "files": {"offers.parquet": sha}}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return folder


def test_p05_the_row_of_a_contact_is_shown_whole(tmp_path: Path) -> None:
    a_list(tmp_path)
    found = row_of_list(tmp_path, "run", "k2")
    assert found is not None
    assert (found.row["offer_id"], found.whole, found.revisions) == ("y", True, {"terms": "t"})


def test_p05_a_changed_file_is_not_whole(tmp_path: Path) -> None:
    folder = a_list(tmp_path)
    pq.write_table(pa.table({"contact_id": ["k1", "k2"], "offer_id": ["x", "z"]}), folder / "offers.parquet")
    found = row_of_list(tmp_path, "run", "k2")
    assert found is not None
    assert not found.whole


def test_what_is_in_no_list_is_null(tmp_path: Path) -> None:
    a_list(tmp_path)
    assert row_of_list(tmp_path, "run", "k3") is None
    assert row_of_list(tmp_path, "other", "k1") is None
