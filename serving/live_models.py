"""What says how likely a customer is to care: the live models, their challengers beside them, the bank's own scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from features.home import Home
from rules.catalogue import Catalogue
from rules.types import scores_schema
from rules.worth import Scored
from training.bundle import Bundle
from training.challenger import Duel, read_challenges
from training.errors import BundleError
from training.explain import Explained, explained
from training.inputs import RowInputs
from training.score import Models
from training.supplied import NOTHING_SUPPLIED, Supplied


class Items(NamedTuple):
    """Ids that models are asked about, in the catalogue's order; families: each offer's."""

    offers: tuple[str, ...]
    families: tuple[str, ...]
    channels: tuple[str, ...]

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Items":
        """Those of a catalogue."""
        offers = catalogue.offers
        channels = tuple(channel.id for channel in catalogue.channels)
        return cls(tuple(offer.id for offer in offers), tuple(offer.family for offer in offers), channels)


@dataclass(frozen=True, eq=False)
class LiveModels:
    """Immutable; swapped as a whole.

    damaged: what is wrong with them; then none is used. duel: the same models beside their challengers, null:
    there are none. supplied: the bank's own scores of some families.
    """

    models: Models
    duel: Duel | None = None
    supplied: Supplied = NOTHING_SUPPLIED
    damaged: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path, secret: bytes) -> "LiveModels":
        """Those of a folder; BundleError where one is damaged. secret: of the challengers' lots."""
        models = Models.load(folder)
        duel = Duel.load(folder, models, secret) if read_challenges(folder) else None
        return cls(models, duel, Supplied.load(folder))

    @classmethod
    def of(cls, home: Home) -> "LiveModels":
        """Those of a home. A damaged one silences marketing and no more: opt-outs and outcomes are still taken."""
        try:
            return cls.load(home.models, home.secret())
        except BundleError as error:
            return cls(Models({}), damaged=(str(error),))

    @cached_property
    def bundles(self) -> tuple[Bundle, ...]:
        """The live bundles and their challengers."""
        rivals = self.duel.challengers.bundles.values() if self.duel else ()
        return (*self.models.bundles.values(), *rivals)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Feature columns that one of them reads."""
        rival = self.duel.challengers.columns if self.duel else ()
        return tuple(dict.fromkeys([*self.models.columns, *rival]))

    @cached_property
    def revisions(self) -> dict[str, str]:
        """What scores: each model, challenger and table of the bank's own -> revision."""
        models = {f"model_{name}": sha for name, sha in self.models.revisions.items()}
        return {**models, **(self.duel.revisions if self.duel else {}), **self.supplied.revisions}

    def problems(self, at: datetime) -> tuple[str, ...]:
        """Why they cannot be asked at an instant, one line each; empty: they can."""
        missing = tuple(f"no live model `{name}`; train and promote it" for name in self.models.missing)
        return (*(self.damaged or missing), *self.supplied.problems(at))

    def score(self, items: Items, customers: pa.RecordBatch, open_: np.ndarray) -> pa.RecordBatch:
        """SCORES for the open cells, (n_customers, n_cells)."""
        scores = (self.duel or self.models).score(customers, open_, *items)
        return self.supplied.over(scores, customers, items.families)

    def score_few(self, items: Items, units: Sequence[str], customers: Sequence[str], inputs: RowInputs,
                  open_: np.ndarray) -> Scored:  # fmt: skip
        """What `score` says of these customers of these units, as numbers."""
        if self.duel is not None:
            found = self.duel.scored(inputs, units, open_, *items)
        else:
            found = self.models.scored(inputs, open_, *items)
        if self.supplied.tables:
            found["p_interest"] = self.supplied.over_few(found["p_interest"], customers, items.families)
        return Scored(**found)

    def explained(self, unit: str, inputs: RowInputs, offer: str) -> Explained | None:
        """What moves the interest of the one customer in an offer; null where no model says."""
        models = self.models
        if self.duel is not None and "interest" in self.duel.decides(unit):
            models = self.duel.challengers
        bundle = models.bundles.get("interest")
        return None if bundle is None else explained(bundle, offer, inputs.matrix(bundle))


def no_scores(items: Items, n: int) -> pa.RecordBatch:
    """SCORES of n customers of whom nothing is said, which silences: all null."""
    schema = scores_schema(len(items.offers), len(items.channels))
    return pa.RecordBatch.from_arrays([pa.nulls(n, field.type) for field in schema], schema=schema)


def none_scored(items: Items, n: int) -> Scored:
    """The same as numbers: all NaN."""
    offers, channels = (n, len(items.offers)), (n, len(items.channels))
    return Scored(*(np.full(shape, np.nan) for shape in (offers, offers, channels, channels, (n,), (n,))))
