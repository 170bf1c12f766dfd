"""Scores on a worker: the live models travel as the files they are, and are checked and read there.

No model is ever unpickled: a bundle's text and JSON are packed, sent with the terms, and opened by the same code
that opens them in the service, hashes first.
"""

import io
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from rules.catalogue import Catalogue
from rules.types import Score
from serving.engine import Engine
from serving.live_models import Items, LiveModels, no_scores

Scoring = Callable[[], Score]  # made where the work is done


@dataclass(frozen=True)
class PackedModels:
    """The live models of a home as bytes; called on a worker, it gives their Score. secret: of the challengers' lots."""

    files: bytes
    catalogue: Catalogue
    secret: bytes
    degraded: bool

    def __call__(self) -> Score:
        """The models, opened once per process."""
        items, live = Items.of(self.catalogue), None if self.degraded else _opened(self.files, self.secret)

        def score(customers: pa.RecordBatch, open_: np.ndarray) -> pa.RecordBatch:
            return live.score(items, customers, open_) if live else no_scores(items, customers.num_rows)

        return score


def packed_models(engine: Engine, degraded: bool) -> PackedModels:
    """The live models of an engine, ready to travel."""
    files = b"" if degraded else _packed(engine.home.models)
    return PackedModels(files, engine.catalogue, engine.home.secret(), degraded)


def _packed(models: Path) -> bytes:
    """What stands in the folder itself, and the bundles it names; others are not in force."""
    said = "\n".join(path.read_text("utf-8") for path in sorted(models.glob("*.json")))
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as packing:
        for path in sorted(models.rglob("*")):
            first = path.relative_to(models).parts[0]
            if path.is_file() and (
                path.parent == models or first in said or not (models / first / "manifest.json").is_file()
            ):
                packing.write(path, path.relative_to(models))
    return into.getvalue()


@lru_cache(maxsize=4)
def _opened(files: bytes, secret: bytes) -> LiveModels:
    with tempfile.TemporaryDirectory(prefix="nbo-models-") as folder:
        with zipfile.ZipFile(io.BytesIO(files)) as packed:
            packed.extractall(folder)  # packed by ourselves, a moment ago
        return LiveModels.load(Path(folder), secret)
