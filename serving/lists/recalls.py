"""The recall file of a list that was handed over: which of its contacts must not be sent any more, and why."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from sqlalchemy import select
from sqlalchemy.engine import Connection

from serving.ledger.contact import Action
from serving.ledger.schema import contacts
from serving.lists.files import ListError
from serving.lists.handover import inert_csv

FILE = "recalls.csv"
_SCHEMA = pa.schema([("contact_id", pa.string()), ("customer_id", pa.string()), ("channel", pa.string()),
                     ("reason", pa.string()), ("recalled_at", pa.timestamp("us", tz="UTC"))])  # fmt: skip


class Held(NamedTuple):
    """A contact that must not be sent now, and may be later: what forbids it passes by itself."""

    contact_id: str
    customer_id: str
    channel: str
    reason: str


def write_recalls(connection: Connection, lists: Path, run: str, held: Sequence[Held] = ()) -> tuple[Path, int]:
    """(`recalls.csv` in the run's folder, how many it recalls), whole or not at all; ListError where there is no such list.

    What is recalled stands first, in that order, and stays. What is held stands behind it, `recalled_at` null, as of now.
    """
    folder = lists / run
    if not (folder / "manifest.json").is_file():
        raise ListError(f"there is no list `{run}` in `{lists}`; its folder's name is what nbo plan printed")
    query = (select(contacts.c.contact_id, contacts.c.customer_id, contacts.c.channel, contacts.c.recall_reason, contacts.c.closed_at)
             .where(contacts.c.decision_id == run, contacts.c.close_reason == str(Action.RECALL))
             .order_by(contacts.c.closed_at, contacts.c.contact_id))  # fmt: skip
    rows = [(r.contact_id, r.customer_id, r.channel, r.recall_reason or "recalled", datetime.fromtimestamp(r.closed_at / 1e6, UTC))
            for r in connection.execute(query)]  # fmt: skip
    told = [*rows, *((*one, None) for one in held)]
    columns = [pa.array([row[k] for row in told], field.type) for k, field in enumerate(_SCHEMA)]
    beside = folder / f".{FILE}.{os.getpid()}"
    beside.write_bytes(inert_csv(pa.table(columns, schema=_SCHEMA)))
    beside.replace(folder / FILE)
    return folder / FILE, len(rows)
