"""Feature columns of a table as the matrix a model reads.

A snapshot's schema says what each column is: numbers and flags go in as they are, strings only
when the schema declares their domain ("a|b|c"), as the place in that domain. A value outside the
domain is unknown (NaN), as null is; a code is never guessed.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from training.errors import ScoreError

Matrix = npt.NDArray[np.float64]
Column: TypeAlias = "pa.Array[Any] | pa.ChunkedArray[Any]"

# Keys, states that only gate contact (who may be contacted says nothing about wanting it), what the law keeps out
# of a model, and what stands as the last import told it, whatever the instant asked for: it knows what came after (of an
# instant before the newest questionnaire both of its columns are null: assessed later, before he buys a fund).
_KEPT_OUT = frozenset({
    "customer_id", "unit_id", "household_id", "as_of", "do_not_contact", "no_profiling", "deceased",
    "staff", "vulnerable", "fraud_lock", "complaint_open", "hardship_open", "language", "arrears_days", "credit_grade",
    "risk_tolerance", "risk_assessment_age_days",
})  # fmt: skip
_KEPT_OUT_PREFIXES = ("consent_", "reachable_")
_FEW_ROWS = 8  # below this, reading values one by one beats a kernel call per column


class Feature(BaseModel):
    """One model input: its column, its kind, and for `enum` the values whose place is the code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["number", "flag", "enum"]
    domain: tuple[str, ...] = ()


def model_features(schema: pa.Schema) -> tuple[Feature, ...]:
    """The columns of a snapshot that a model may learn from, in the snapshot's order."""
    found = (_feature(field) for field in schema)
    return tuple(feature for feature in found if feature is not None)


def encode(table: pa.Table | pa.RecordBatch, features: Sequence[Feature]) -> Matrix:
    """Return (n_rows, n_features) float64; null, NaN, infinity and unknown values are NaN.

    Raises:
        ScoreError: The table lacks a column or holds it in a type that has no number.
    """
    matrix = np.empty((table.num_rows, len(features)), dtype=np.float64)
    few = table.num_rows <= _FEW_ROWS
    names = {name: place for place, name in enumerate(table.schema.names)}
    for place, feature in enumerate(features):
        if feature.name not in names:
            raise ScoreError(f"column `{feature.name}` is missing; build the features again or retrain")
        column: Column = table.column(names[feature.name])
        try:
            matrix[:, place] = _few(column, feature) if few else _many(column, feature)
        except (pa.ArrowException, TypeError, ValueError) as error:
            wrong = f"column `{feature.name}` is {column.type}, expected a {feature.kind}"
            raise ScoreError(f"{wrong}; build the features again or retrain") from error
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix


class RowEncoder:
    """Fills the matrix of a few customers from plain values in an order known beforehand; says what `encode` says."""

    def __init__(self, features: Sequence[Feature], numbers: Sequence[str], texts: Sequence[str]) -> None:
        """numbers, texts: names of the values that `matrix` is given; ScoreError where a feature is not among them."""
        number_at, text_at = ({name: place for place, name in enumerate(names)} for names in (numbers, texts))
        into, taken = list[int](), list[int]()
        self._codes: list[tuple[int, int, dict[str | None, float]]] = []
        self._width = len(features)
        for place, feature in enumerate(features):
            among = text_at if feature.kind == "enum" else number_at
            if feature.name not in among:
                raise ScoreError(f"column `{feature.name}` is missing; build the features again or retrain")
            if feature.kind == "enum":
                codes: dict[str | None, float] = {value: float(code) for code, value in enumerate(feature.domain)}
                self._codes.append((place, among[feature.name], codes))
            else:
                into.append(place)
                taken.append(among[feature.name])
        self._into, self._taken = np.array(into, np.intp), np.array(taken, np.intp)

    def matrix(self, numbers: Matrix, texts: Sequence[Sequence[str | None]]) -> Matrix:
        """(n, n_features) float64. numbers: (n, n_numbers), flags among them as 0 and 1, NaN where null; texts: n rows."""
        rows = np.full((len(numbers), self._width), np.nan)
        rows[:, self._into] = numbers[:, self._taken]
        for place, source, codes in self._codes:
            rows[:, place] = [codes.get(said[source], np.nan) for said in texts]
        rows[~np.isfinite(rows)] = np.nan
        return rows


def categorical_places(features: Sequence[Feature]) -> list[int]:
    """Which columns of the matrix hold codes and not quantities."""
    return [place for place, feature in enumerate(features) if feature.kind == "enum"]


def _feature(field: "pa.Field[Any]") -> Feature | None:
    if field.name in _KEPT_OUT or field.name.startswith(_KEPT_OUT_PREFIXES):
        return None
    if pa.types.is_boolean(field.type):
        return Feature(name=field.name, kind="flag")
    if pa.types.is_floating(field.type) or pa.types.is_integer(field.type):
        return Feature(name=field.name, kind="number")
    domain = (field.metadata or {}).get(b"domain", b"").decode()
    if "|" in domain and (pa.types.is_string(field.type) or pa.types.is_dictionary(field.type)):
        return Feature(name=field.name, kind="enum", domain=tuple(domain.split("|")))
    return None


def _few(column: Column, feature: Feature) -> list[float]:
    values = column.to_pylist()
    if feature.kind == "enum":
        return [feature.domain.index(v) if v in feature.domain else np.nan for v in values]
    return [np.nan if v is None else float(v) for v in values]


def _many(column: Column, feature: Feature) -> Matrix:
    array: Any = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if feature.kind == "enum":
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        array = pc.call_function("index_in", [array], pc.SetLookupOptions(pa.array(feature.domain, pa.string())))
    elif pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    return array.cast(pa.float64()).to_numpy(zero_copy_only=False)
