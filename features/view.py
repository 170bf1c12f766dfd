"""A feature view: features declared once, with their meaning, and the one way to compute them.

The declaration becomes the metadata of an Arrow schema, which is all that rules and training see.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from features.source import Source
from features.windows import Log

TYPES = {"bool": pa.bool_(), "number": pa.float64(), "text": pa.string()}


@dataclass(frozen=True)
class Feature:
    """One feature and what it means.

    `kind` is bool, number or text; `domain` lists the values of a text ("a|b|c", empty: free);
    `null` says what null means; `source` names the table; `en` and `zh` are short noun phrases.
    """

    name: str
    kind: str
    unit: str
    null: str
    source: str
    en: str
    zh: str
    domain: str = ""

    @property
    def field(self) -> "pa.Field[Any]":
        """The Arrow field that carries the declaration as metadata."""
        told = {"unit": self.unit, "domain": self.domain, "null": self.null, "source": self.source,
                "en": self.en, "zh": self.zh}  # fmt: skip
        metadata = {key.encode(): value.encode() for key, value in told.items()}
        return pa.field(self.name, TYPES[self.kind], metadata=metadata)


@dataclass(frozen=True)
class Pairs:
    """What features are asked for: (customer, instant) pairs, unique and sorted.

    INVARIANT: `frame` is sorted by customer, as_of; columns customer (int32 code), as_of (int64
    microseconds UTC), day (the local date of as_of in the bank's zone). `codes` maps customer_id to
    customer.
    """

    frame: pl.DataFrame
    codes: pl.DataFrame
    shared: dict[str, Log] = field(default_factory=dict[str, Log])  # what one view has read and others use too

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class FeatureView:
    """Some features of one subject.

    `declare` names them for a given bank (its currencies, products and tables); `compute` returns
    one series of len(pairs) for each declared name, in the order of the pairs.
    """

    name: str
    declare: Callable[[Source], tuple[Feature, ...]]
    compute: Callable[[Pairs, Source], Mapping[str, pl.Series]]
