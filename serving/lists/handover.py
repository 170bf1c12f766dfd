"""What channels are handed: CSV files that a spreadsheet does not execute, test addresses marked among the contacts.

A seed is a test address of the bank's own. It gets one of every wording its campaign's list holds, so that
somebody sees what customers see, in each language; it is no contact: nothing is reserved for it, no limit and no cap counts it.
"""

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from serving.campaign import Campaign
from serving.lists.wordings import WORDING_COLUMNS

OFFER_COLUMNS = ("customer_id", "offer_id", "channel", "send_after", "send_before", "treatment", "campaign_id", "contact_id",
                 "expected_value_minor", "p_accept", "p_chosen")  # fmt: skip
COLUMNS = (*OFFER_COLUMNS, "seed", *WORDING_COLUMNS)  # what is new stands at the end: callers know places
ROWS = 10_000  # as Python objects at once
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")
WORDED = ("offer_id", "channel", "treatment", "language")  # what a customer sees
OF_SEED = (*WORDED, "campaign_id", "send_after", "send_before", "legal_footer")


def with_seeds(offers: pa.Table, campaigns: Sequence[Campaign]) -> tuple[pa.Table, int]:
    """(COLUMNS: the contacts, seed 0, and behind them the seeds, seed 1; how many seeds)."""
    contacts = offers.select([*OFFER_COLUMNS, *WORDING_COLUMNS])
    seeds = [row for campaign in campaigns if campaign.seeds for row in _seeds(contacts, campaign)]
    mark = pa.array([0] * len(contacts) + [1] * len(seeds), pa.int8())
    table = pa.concat_tables([contacts, pa.Table.from_pylist(seeds, schema=contacts.schema)])
    return table.append_column("seed", mark).select(COLUMNS), len(seeds)


def by_channel(listed: pa.Table) -> dict[str, pa.Table]:
    """Channel -> its rows of COLUMNS, in the order in which they may be sent."""
    names = sorted(set(listed.column("channel").to_pylist()))
    order = [
        ("send_after", "ascending"),
        ("seed", "descending"),
        ("customer_id", "ascending"),
        ("offer_id", "ascending"),
    ]
    return {name: listed.filter(pc.equal(listed.column("channel"), name)).sort_by(order) for name in names}


def inert_csv(table: pa.Table) -> bytes:
    """CSV that a spreadsheet does not execute: texts that begin like a formula get a leading `'`.

    Source: OWASP, CSV injection. Signs of full width, and those behind blanks, count as what they are read as.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.column_names)
    for part in table.to_batches(max_chunksize=ROWS):
        for row in part.to_pylist():
            writer.writerow([_cell(value) for value in row.values()])
    return out.getvalue().encode()


def _seeds(contacts: pa.Table, campaign: Campaign) -> Iterable[dict[str, Any]]:
    mine = contacts.filter(pc.equal(contacts.column("campaign_id"), campaign.id)).select(OF_SEED)
    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in mine.sort_by([(name, "ascending") for name in OF_SEED]).to_pylist():
        first.setdefault(tuple(row[name] for name in WORDED), row)
    blank = dict.fromkeys(contacts.column_names)
    return [blank | row | {"customer_id": seed} for seed in campaign.seeds for row in first.values()]


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if not isinstance(value, str):
        return value
    begins = value.startswith(DANGEROUS) or unicodedata.normalize("NFKC", value).lstrip().startswith(DANGEROUS)
    return ("'" if begins else "") + value.replace("\r", " ")  # it would end the row
