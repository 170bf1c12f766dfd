"""The bank's tables in a home, as frames to label from."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from features.home import Home
from features.settings import read_yaml
from features.tables import TABLES
from training.errors import DatasetError


def read_history(home: Home, table: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """All rows of a canonical table, or of some of its columns; no rows where the home lacks it.

    KeyError for a name that is no table of the contract.
    """
    schema = TABLES[table].schema
    names = list(columns or schema.names)
    parts = sorted(home.table(table).glob("part-*.parquet"))
    if not parts:
        return pl.DataFrame(schema.empty_table()).select(names)
    return pl.read_parquet(parts, columns=names)


def catalogue_offers(home: Home, word: str) -> dict[str, str]:
    """Offer -> its `word` (product, family) in the home's catalogue, offers without one left out; {} without a catalogue.

    Only these words are read: the catalogue's own checks happen where offers are made.
    """
    if not home.catalogue.is_file():
        return {}
    try:
        offers: Any = read_yaml(home.catalogue)
        return {str(offer["id"]): str(offer[word]) for offer in offers["offers"] if word in offer}
    except (KeyError, TypeError) as error:
        raise DatasetError(
            f"`{home.catalogue.name}` has no list `offers`; nbo rules check says what is wrong"
        ) from error
