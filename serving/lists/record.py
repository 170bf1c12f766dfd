"""One customer's row of a list, as it was handed over, and whether the file still is what was written."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import BaseModel

from serving.lists.files import read_manifest


class ListRow(BaseModel):
    """A list's decision about one customer. whole: the file still has the hash its manifest gives it.

    row: the columns of offers.parquet (factors among them). revisions: what decided.
    """

    run: str
    contact_id: str
    row: dict[str, Any]
    revisions: dict[str, str]
    file_sha256: str
    whole: bool


def row_of_list(lists: Path, run: str, contact_id: str) -> ListRow | None:
    """The row of a contact in the list of a run; null where the list or the row is not there."""
    folder = lists / run
    file = folder / "offers.parquet"
    if not (folder / "manifest.json").is_file() or not file.is_file():
        return None
    rows = pq.read_table(file, filters=[("contact_id", "=", contact_id)]).to_pylist()
    if not rows:
        return None
    manifest, found = read_manifest(folder), hashlib.sha256(file.read_bytes()).hexdigest()
    return ListRow(run=run, contact_id=contact_id, row=rows[0], revisions=manifest.revisions, file_sha256=found,
                   whole=manifest.files.get(file.name) == found)  # fmt: skip
