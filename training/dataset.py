"""Labels joined with the features of their instant, cut into slices by time.

    train | validation | test      later rows to the right, each a stretch of time
              |    `- calibrate: one half of the units - fits the probabilities
              `- tune: the other half - early stopping, settings; both choose the candidate

A row whose label ripens only after the next slice begins is left out of its own (embargo): the
model that would have stood at that boundary could not have known it. So nothing learned from
reaches into the slice that measures it, and no unit's later row is learned from earlier.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from features.store import FeatureStore
from training.encode import Feature, Matrix, encode, model_features
from training.errors import DatasetError

Names = npt.NDArray[np.str_]
_VALIDATION_FROM, _TEST_FROM = 0.6, 0.8  # shares of the rows, in order of time


class Slice(IntEnum):
    """What a row is for; EMBARGO: for nothing."""

    EMBARGO = -1
    TRAIN = 0
    TUNE = 1
    CALIBRATE = 2
    TEST = 3


@dataclass(frozen=True)
class Dataset:
    """Rows to learn from: matrix (n, n_features), label 0/1 (n,), whose, when and what for."""

    features: tuple[Feature, ...]
    matrix: Matrix
    label: Matrix
    owners: Names  # unit: household, else customer
    groups: Names  # campaign, "" where there is none
    items: Names  # offer or channel, "" where there is none
    slices: npt.NDArray[np.int8]
    snapshot: str  # sha256 of label rows and feature schema
    weight: Matrix = field(default_factory=lambda: np.empty(0))  # rows each row stands for, (n,); empty: one
    bands: Names = field(default_factory=lambda: np.empty(0, np.str_))  # age band, "" unknown; never a feature
    signs: Mapping[str, int] = field(default_factory=dict[str, int])  # see training/monotone.py
    at: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # as_of, microseconds; 0 unknown
    ends: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # when the label ripened

    def __post_init__(self) -> None:
        """Fill in what was left out: every row stands for itself, of no known band."""
        if len(self.weight) != len(self.label):
            object.__setattr__(self, "weight", np.ones(len(self.label)))
        if len(self.bands) != len(self.label):
            object.__setattr__(self, "bands", np.full(len(self.label), "", np.str_))
        for name in ("at", "ends"):
            if len(getattr(self, name)) != len(self.label):
                object.__setattr__(self, name, np.zeros(len(self.label), np.int64))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the matrix's columns."""
        return tuple(feature.name for feature in self.features)

    def rows(self, keep: npt.NDArray[np.bool_]) -> "Dataset":
        """The rows where `keep`, in order."""
        return replace(
            self, matrix=self.matrix[keep], label=self.label[keep], owners=self.owners[keep],
            groups=self.groups[keep], items=self.items[keep], slices=self.slices[keep],
            weight=self.weight[keep], bands=self.bands[keep], at=self.at[keep], ends=self.ends[keep],
        )  # fmt: skip

    def slice(self, *wanted: Slice) -> "Dataset":
        """The rows of some slices, in order."""
        return self.rows(np.isin(self.slices, wanted))

    def knowing(self, names: Collection[str]) -> "Dataset":
        """The same rows with these features alone; those the source does not give are not missed."""
        places = [place for place, feature in enumerate(self.features) if feature.name in names]
        features = tuple(self.features[place] for place in places)
        return replace(self, features=features, matrix=self.matrix[:, places])

    def signed(self, signs: Mapping[str, int]) -> "Dataset":
        """The same rows, with the signs the business knows."""
        return replace(self, signs=signs)

    def with_item(self, feature: Feature) -> "Dataset":
        """The same rows with one more column: the code of the item, NaN outside the domain."""
        code = {item: float(place) for place, item in enumerate(feature.domain)}
        codes = np.asarray([code.get(str(item), np.nan) for item in self.items])
        return replace(self, features=(*self.features, feature), matrix=np.column_stack([self.matrix, codes]))


@dataclass(frozen=True)
class Observed:
    """Label rows, sorted by as_of, and what was known of each customer at that instant."""

    rows: pl.DataFrame
    features: tuple[Feature, ...]
    matrix: Matrix


def observe(store: FeatureStore, rows: pl.DataFrame) -> Observed:
    """Look up the features of each row's customer at its as_of (customer_id, as_of needed)."""
    ordered = rows.sort("as_of", maintain_order=True)
    features = model_features(store.schema)
    entities = ordered.select("customer_id", "as_of").to_arrow().cast(_ENTITIES)
    # One call: the store bounds its own memory, and every call reads the transactions anew.
    return Observed(ordered, features, encode(store.as_of(entities), features))


def labelled(seen: Observed, label: str, *, end: str, item: str | None = None,
             keep: pl.Expr | None = None, later: bool = False, weight: str | None = None) -> Dataset:  # fmt: skip
    """The rows whose label is ripe, cut into slices by time.

    Args:
        seen: Rows with unit_id, the label (null: not ripe), the instant `end` at which it ripens,
            campaign_id if there is one, and `item` (offer_id or channel).
        keep: Further condition on the rows.
        later: All rows are later than the model: every one is TEST.
        weight: Column with the rows each row stands for; None: one.

    Raises:
        DatasetError: No row has a ripe label.
    """
    wanted = pl.col(label).is_not_null() & (pl.lit(True) if keep is None else keep)
    mask = seen.rows.select(wanted.fill_null(False).alias("keep"))["keep"].to_numpy()
    known = seen.rows.filter(pl.Series(mask))
    if known.is_empty():
        raise DatasetError(f"no row has a ripe `{label}`; import more history or take a later --as-of")
    owners = _names(known, "unit_id")
    if later:
        slices = np.full(len(known), Slice.TEST, np.int8)
    else:
        slices = time_slices(_micros(known, "as_of"), _micros(known, end), owners)
    return Dataset(
        features=seen.features, matrix=seen.matrix[mask], slices=slices, owners=owners,
        label=known[label].cast(pl.Float64).to_numpy(), groups=_names(known, "campaign_id"),
        items=_names(known, item), snapshot=snapshot_id(known, seen.features), bands=_names(known, "age_band"),
        weight=np.ones(len(known)) if weight is None else known[weight].cast(pl.Float64).to_numpy(),
        at=_micros(known, "as_of"), ends=_micros(known, end),
    )  # fmt: skip


def time_slices(as_of: npt.NDArray[np.int64], label_end: npt.NDArray[np.int64],
                owners: Sequence[str] | Names) -> npt.NDArray[np.int8]:  # fmt: skip
    """Slice per row, (n,): boundaries are instants, so rows of one instant stay together."""
    validation_at, test_at = _boundary(as_of, _VALIDATION_FROM), _boundary(as_of, _TEST_FROM)
    slices = np.full(len(as_of), Slice.TRAIN, dtype=np.int8)
    slices[label_end > validation_at] = Slice.EMBARGO
    half = np.asarray([_hash(str(owner)) % 2 == 0 for owner in owners])
    validation = as_of >= validation_at
    slices[validation] = np.where(half[validation], Slice.TUNE, Slice.CALIBRATE)
    slices[validation & (label_end > test_at)] = Slice.EMBARGO
    slices[as_of >= test_at] = Slice.TEST
    return slices


def sample_rows(rows: pl.DataFrame, key: str, bound: int) -> pl.DataFrame:
    """At most `bound` rows, chosen by the hash of their key: the same rows every time, in order."""
    if len(rows) <= bound:
        return rows
    return rows.filter(_ranks(rows, key) <= bound)


def weighted_sample(rows: pl.DataFrame, key: str, bound: int, rare: pl.Expr, name: str) -> pl.DataFrame:
    """Every row with the column `name`: how many rows it stands for, null where it was not drawn.

    About `bound` are drawn by the hash of their key: the `rare` ones first, up to half the bound, then
    of the others. A row stands for as many of its kind as were left out, so that rates, losses and
    probabilities are those of all rows.
    """
    if len(rows) <= bound:
        return rows.with_columns(pl.lit(1.0).alias(name))
    kind = rows.select(rare.fill_null(value=False).alias("rare"))["rare"]
    n_rare = int(kind.sum())
    kept_rare = min(n_rare, max(bound // 2, bound - (len(rows) - n_rare)))
    weight = np.full(len(rows), np.nan)
    for mine, n, kept in ((kind, n_rare, kept_rare), (~kind, len(rows) - n_rare, bound - kept_rare)):
        places = np.flatnonzero(mine.to_numpy())
        drawn = (_ranks(rows[places], key) <= kept).to_numpy()
        weight[places[drawn]] = n / max(1, min(n, kept))
    return rows.with_columns(pl.Series(name, weight).fill_nan(None))


def _ranks(rows: pl.DataFrame, key: str) -> pl.Series:
    return pl.Series([_hash(value) for value in rows[key]], dtype=pl.UInt64).rank("ordinal")


def snapshot_id(rows: pl.DataFrame, features: Sequence[Feature]) -> str:
    """sha256 over the label rows and the feature schema: names one data set for ever."""
    digest = hashlib.sha256(rows.write_csv().encode())
    for feature in features:
        digest.update(feature.model_dump_json().encode())
    return digest.hexdigest()


_ENTITIES = pa.schema([("customer_id", pa.string()), ("as_of", pa.timestamp("us", "UTC"))])


def _boundary(as_of: npt.NDArray[np.int64], share: float) -> int:
    """The instant before which `share` of the rows lie, or the nearest later instant."""
    return int(np.sort(as_of)[min(len(as_of) - 1, int(len(as_of) * share))])


def _micros(rows: pl.DataFrame, column: str) -> npt.NDArray[np.int64]:
    return rows[column].dt.timestamp("us").to_numpy()


def _names(rows: pl.DataFrame, column: str | None) -> Names:
    if column is None or column not in rows.columns:
        return np.full(len(rows), "", dtype=np.str_)
    return rows[column].fill_null("").to_numpy().astype(np.str_)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
