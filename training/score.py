"""Score customers with the models now in force.

`models/live.json` says which bundle is live under each name. A missing one is named, never
replaced by a guess: what it would have said stays null, and serving is silent where null matters.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.bundle import POOLED, Bundle, Part, load_bundle, verify_bundle
from training.encode import Matrix
from training.errors import BundleError, ScoreError
from training.inputs import BatchInputs, Inputs
from training.probe import ensure_probed
from training.scorer import BoosterScorer, LogisticScorer
from training.tiers import Tiers

NAMES = ("interest", "reach", "harm", "churn", "value")
OPTIONAL = ("organic",)  # may be missing: then NO_HOLDOUT is said, and nothing is silenced
ALL_NAMES = (*NAMES, *OPTIONAL)
LISTS = ("p_interest", "p_organic", "p_reach", "p_harm")  # of SCORES, one number an offer or channel
SINGLES = ("p_churn", "lifetime_value_minor")
NO_HOLDOUT = "no randomised holdout to learn from: what customers do unasked (p_organic) counts as 0"
FROM_HOLDOUT = "what customers do unasked (p_organic) is learned from those drawn never to be contacted"


@dataclass(frozen=True)
class Models:
    """The live bundles, immutable; swapped as a whole."""

    bundles: dict[str, Bundle]
    tiers: Tiers | None = None  # everybody's tier as of the day the live value model was made

    @classmethod
    def load(cls, models: Path) -> "Models":
        """Open the bundles `models/live.json` names; none where the file is missing.

        Raises:
            BundleError: live.json is not readable, or a bundle is damaged.
        """
        paths = {name: models / sha for name, sha in read_live(models).items() if name in ALL_NAMES}
        for path in paths.values():
            verify_bundle(path)
        ensure_probed(list(paths.values()))
        bundles = {name: load_bundle(path) for name, path in paths.items()}
        for part in (part for bundle in bundles.values() for part in bundle.parts.values()):
            if isinstance(part, BoosterScorer):
                part.warm()
        value = bundles.get("value")
        return cls(bundles, Tiers.load(models, value.manifest.dataset) if value else None)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names without a live bundle."""
        return tuple(name for name in NAMES if name not in self.bundles)

    @property
    def revisions(self) -> dict[str, str]:
        """Name -> sha256 of the live bundle; goes into every decision record."""
        return {name: bundle.sha256 for name, bundle in sorted(self.bundles.items())}

    @cached_property
    def assumptions(self) -> tuple[str, ...]:
        """What the models take for granted, to be stamped on answers and reports."""
        said = [line for b in self.bundles.values() for line in b.manifest.assumptions]
        return tuple(dict.fromkeys([FROM_HOLDOUT if "organic" in self.bundles else NO_HOLDOUT, *said]))

    def tier(self, customer_id: str) -> str | None:
        """top, high, middle or base (training/tiers.py); null: none is made of him, or none are on file."""
        return self.tiers.of([customer_id])[0] if self.tiers else None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Every feature column some live bundle reads."""
        names = [f.name for b in self.bundles.values() for f in b.manifest.features]
        return tuple(dict.fromkeys(names))

    def score(self, customers: pa.RecordBatch | pa.Table, open: npt.NDArray[np.bool_],
              offers: Sequence[str], families: Sequence[str],
              channels: Sequence[str]) -> pa.RecordBatch:  # fmt: skip
        """Score customers, each only for what is still open to him.

        Args:
            customers: Feature columns as FeatureStore gives them, (n,).
            open: (n, n_offers x n_channels), offer by offer.
            offers: Ids in the order of the catalogue; families: theirs; channels: likewise.

        Returns:
            SCORES, (n,). p_interest is null for offers without an open cell in the row, p_reach
            and p_harm for channels without one, all of a missing bundle's columns are null.
            p_organic is 0 where no `organic` is live (see NO_HOLDOUT). A row's scores do not depend on the other rows.

        Raises:
            ScoreError: A feature column is missing or `open` has another shape.
        """
        found = self.scored(BatchInputs(customers), open, offers, families, channels)
        columns: list[Any] = [*(_lists(found[name]) for name in LISTS), *(_nullable(found[name]) for name in SINGLES)]
        return pa.RecordBatch.from_arrays(columns, schema=_schema(len(offers), len(channels)))

    def scored(self, inputs: Inputs, open: npt.NDArray[np.bool_], offers: Sequence[str], families: Sequence[str],
               channels: Sequence[str]) -> dict[str, Matrix]:  # fmt: skip
        """What `score` says as numbers: column of SCORES -> (n, k) or (n,) float64, NaN where it is null."""
        n, cells = inputs.n, len(offers) * len(channels)
        if open.shape != (n, cells) or len(families) != len(offers):
            raise ScoreError(f"open cells are {open.shape}, expected {(n, cells)}; pass the catalogue's order")
        grid = open.reshape(n, len(offers), len(channels))
        on_offer, on_channel = np.logical_or.reduce(grid, axis=2), np.logical_or.reduce(grid, axis=1)
        return {
            "p_interest": self._listed("interest", inputs, offers, on_offer),
            "p_organic": self._organic(inputs, offers, on_offer),
            "p_reach": self._listed("reach", inputs, channels, on_channel),
            "p_harm": self._listed("harm", inputs, channels, on_channel),
            "p_churn": self._single("churn", inputs), "lifetime_value_minor": self._single("value", inputs),
        }  # fmt: skip

    def _listed(self, name: str, inputs: Inputs, items: Sequence[str], wanted: npt.NDArray[np.bool_]) -> Matrix:
        scores = np.full(wanted.shape, np.nan)
        bundle = self.bundles.get(name)
        if bundle is None or not wanted.any():
            return scores
        matrix, (own, pooled, codes) = inputs.matrix(bundle), self._places(bundle, tuple(items))
        for place in own:
            rows = np.flatnonzero(wanted[:, place])
            if len(rows):
                scores[rows, place] = _part(bundle, items[place]).predict(_taken(matrix, rows))
        # One call for all pooled items: online, a call costs more than its rows.
        rows, places = np.nonzero(wanted[:, pooled])
        if len(rows):
            scores[rows, pooled[places]] = predict_pooled(bundle, matrix, codes[places], rows)
        return scores

    def _places(self, bundle: Bundle, items: tuple[str, ...]) -> "_Places":
        """Where the items stand that have a part of their own, where those without, and the codes of these."""
        key = bundle.sha256, items
        if (found := self._known_places.get(key)) is None:
            own = [place for place, item in enumerate(items) if item in bundle.parts]
            pooled = np.array([place for place, item in enumerate(items) if item not in bundle.parts], np.intp)
            found = own, pooled, context_codes(bundle, [items[place] for place in pooled])
            self._known_places[key] = found
        return found

    @cached_property
    def _known_places(self) -> dict[tuple[str, tuple[str, ...]], "_Places"]:
        return {}

    def _organic(self, inputs: Inputs, offers: Sequence[str], wanted: npt.NDArray[np.bool_]) -> Matrix:
        """0 without a model, and for offers that nobody can take unasked."""
        bundle = self.bundles.get("organic")
        if bundle is None:
            return np.zeros(wanted.shape)
        known = self._learned(bundle, tuple(offers))
        found = self._listed("organic", inputs, offers, wanted & known)
        return np.where(np.isnan(found), 0.0, found)

    def _learned(self, bundle: Bundle, offers: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        if (found := self._known_offers.get((bundle.sha256, offers))) is None:
            found = self._known_offers[bundle.sha256, offers] = ~np.isnan(context_codes(bundle, offers))
        return found

    @cached_property
    def _known_offers(self) -> dict[tuple[str, tuple[str, ...]], npt.NDArray[np.bool_]]:
        return {}

    def _single(self, name: str, inputs: Inputs) -> Matrix:
        bundle = self.bundles.get(name)
        if bundle is None:
            return np.full(inputs.n, np.nan)
        return _part(bundle, name).predict(inputs.matrix(bundle))


def context_codes(bundle: Bundle, items: Sequence[str]) -> Matrix:
    """The code of each offer or channel in a pooled part; NaN for one it has never seen."""
    domain = bundle.manifest.context.domain if bundle.manifest.context else ()
    return np.asarray([domain.index(item) if item in domain else np.nan for item in items])


def predict_pooled(bundle: Bundle, matrix: Matrix, codes: Matrix, rows: npt.NDArray[np.intp] | None = None) -> Matrix:
    """Scores of the pooled part, (n,): the customer of row rows[i], null row i, for the offer or channel codes[i]."""
    part = _part(bundle, POOLED)
    has_code = len(part.features) > matrix.shape[1]
    if rows is None:
        rows = np.arange(len(matrix))
    if has_code and isinstance(part, LogisticScorer) and part.ends_in_code:
        return part.pooled(matrix, rows, codes)
    taken = matrix[rows]
    return part.predict(np.concatenate([taken, codes[:, None]], axis=1) if has_code else taken)


def _part(bundle: Bundle, name: str) -> Part:
    if name not in bundle.parts:
        raise BundleError(f"bundle `{bundle.name}` has no part `{name}`; train and promote it again")
    return bundle.parts[name]


_Places: TypeAlias = tuple[list[int], npt.NDArray[np.intp], Matrix]


def _taken(matrix: Matrix, rows: npt.NDArray[np.intp]) -> Matrix:
    return matrix if len(rows) == len(matrix) else matrix[rows]


def read_live(models: Path) -> dict[str, str]:
    """Name -> sha256 of the live bundle; empty before the first promotion."""
    path = models / "live.json"
    if not path.exists():
        return {}
    try:
        live = json.loads(path.read_bytes())
        return {str(name): _plain(sha) for name, sha in live.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise BundleError(f"`{path.name}` is not readable; promote a model again") from error


def _plain(sha: object) -> str:
    # The hash names a folder: anything but hex digits could point outside `models`.
    if not isinstance(sha, str) or len(sha) != 64 or not set(sha) <= set("0123456789abcdef"):
        raise ValueError("not a sha256")
    return sha


def _schema(n_offers: int, n_channels: int) -> pa.Schema:
    # rules.types.scores_schema said again: training and rules do not know each other; a test
    # compares the two.
    by_offer, by_channel = pa.list_(pa.float64(), n_offers), pa.list_(pa.float64(), n_channels)
    return pa.schema([("p_interest", by_offer), ("p_organic", by_offer), ("p_reach", by_channel),
                      ("p_harm", by_channel), ("p_churn", pa.float64()),
                      ("lifetime_value_minor", pa.float64())])  # fmt: skip


def _nullable(values: Matrix) -> "pa.Array[Any]":
    return pa.array(values, pa.float64(), from_pandas=True)


def _lists(values: Matrix) -> "pa.Array[Any]":
    make: Any = pa.FixedSizeListArray.from_arrays  # its stub leaves the type open
    return make(_nullable(values.reshape(-1)), values.shape[1])
