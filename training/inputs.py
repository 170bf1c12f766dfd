"""What a bundle reads, as the matrix it reads it from: of a batch of customers, or of a few as plain values."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import pyarrow as pa

from training.bundle import Bundle
from training.encode import Matrix, RowEncoder, encode


class Inputs(Protocol):
    """The customers as matrices. n: how many."""

    @property
    def n(self) -> int:
        """How many customers."""
        ...

    def matrix(self, bundle: Bundle) -> Matrix:
        """(n, n_features) as the bundle's manifest lists them."""
        ...


class BatchInputs:
    """One matrix per feature list, made once however many bundles share it."""

    def __init__(self, customers: pa.RecordBatch | pa.Table) -> None:
        self.customers, self.n = customers, customers.num_rows
        self._made: dict[str, Matrix] = {}

    def matrix(self, bundle: Bundle) -> Matrix:
        """(n, n_features)."""
        made = self._made.get(bundle.inputs)
        if made is None:
            made = self._made[bundle.inputs] = encode(self.customers, bundle.manifest.features)
        return made


class RowInputs:
    """A few customers as plain values, (n, n_numbers) and n rows of texts.

    encoders: by `Bundle.inputs`, for these values' order (`row_encoders`).
    """

    def __init__(self, encoders: dict[str, RowEncoder], numbers: Matrix, texts: Sequence[Sequence[str | None]]) -> None:
        self._encoders, self._numbers, self._texts, self.n = encoders, numbers, texts, len(numbers)
        self._made: dict[str, Matrix] = {}

    def matrix(self, bundle: Bundle) -> Matrix:
        """(n, n_features)."""
        made = self._made.get(bundle.inputs)
        if made is None:
            made = self._made[bundle.inputs] = self._encoders[bundle.inputs].matrix(self._numbers, self._texts)
        return made


def row_encoders(bundles: Iterable[Bundle], numbers: Sequence[str], texts: Sequence[str]) -> dict[str, RowEncoder]:
    """`Bundle.inputs` -> the encoder of its feature list, for values in the order of these names; see RowEncoder."""
    return {bundle.inputs: RowEncoder(bundle.manifest.features, numbers, texts) for bundle in bundles}
