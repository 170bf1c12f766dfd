"""Champion and challenger: a share of the units is decided by the challenger, for a season, by hash.

    models/challengers.json    {name: {"sha256", "share", "season", "started_at"}}
Both are bundles in `models/`. The arm follows from secret, name, season and unit alone, so a household
never changes sides within a season, whoever asks. training/contest.py starts, ends and measures.
"""

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from training.bundle import read_bundle
from training.encode import Matrix
from training.errors import BundleError
from training.inputs import Inputs
from training.score import Models

_WORD = 2.0**64
_COLUMNS = {"interest": ("p_interest",), "reach": ("p_reach",), "harm": ("p_harm",), "churn": ("p_churn",)}


class Challenge(BaseModel):
    """One challenger: share of the units it decides for, and the season its draw belongs to.

    started_at: since when it decides for them; null: written before that was kept, and nobody knows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    share: float = Field(gt=0, le=0.5)
    season: str = Field(min_length=1, max_length=40)
    started_at: AwareDatetime | None = None


def in_challenge(secret: bytes, name: str, season: str, units: Sequence[str], share: float) -> npt.NDArray[np.bool_]:
    """Who the challenger decides for, (n,): a hash of unit and season below the share."""
    drawn = [
        hmac.new(secret, f"challenge\x1f{name}\x1f{season}\x1f{unit}".encode(), hashlib.sha256).digest()
        for unit in units
    ]
    return np.asarray([int.from_bytes(word[:8], "big") / _WORD < share for word in drawn], dtype=np.bool_)


@dataclass(frozen=True)
class Duel:
    """The live models with the challengers beside them; immutable, as the engine is."""

    champions: Models
    challengers: Models
    challenges: dict[str, Challenge]
    secret: bytes

    @classmethod
    def load(cls, models: Path, champions: Models, secret: bytes) -> "Duel":
        """Open the challengers; BundleError where one is damaged."""
        challenges = read_challenges(models)
        bundles = {name: read_bundle(models / challenge.sha256) for name, challenge in challenges.items()}
        return cls(champions, replace(champions, bundles={**champions.bundles, **bundles}), challenges, secret)

    @cached_property
    def revisions(self) -> dict[str, str]:
        """challenger_<name> -> sha256; goes into every decision record."""
        return {f"challenger_{name}": challenge.sha256 for name, challenge in sorted(self.challenges.items())}

    def score(self, customers: pa.RecordBatch, open: npt.NDArray[np.bool_], offers: Sequence[str],
              families: Sequence[str], channels: Sequence[str]) -> pa.RecordBatch:  # fmt: skip
        """SCORES, (n,): the challenger's column for the units it decides for, else the champion's."""
        scores = self.champions.score(customers, open, offers, families, channels)
        if not self.challenges or not customers.num_rows:
            return scores
        rival = self.challengers.score(customers, open, offers, families, channels)
        units, columns = (
            customers.column("unit_id").to_pylist(),
            dict(zip(scores.schema.names, scores.columns, strict=True)),
        )
        for name, challenge in self.challenges.items():
            mine = in_challenge(self.secret, name, challenge.season, units, challenge.share)
            rows = pa.array(np.arange(len(mine)) + np.where(mine, len(mine), 0))
            for column in _COLUMNS[name]:
                columns[column] = pa.concat_arrays([scores.column(column), rival.column(column)]).take(rows)
        return pa.RecordBatch.from_arrays([columns[name] for name in scores.schema.names], schema=scores.schema)

    def decides(self, unit: str) -> frozenset[str]:
        """The models whose challenger decides for a unit."""
        return frozenset(name for name, challenge in self.challenges.items()
                         if in_challenge(self.secret, name, challenge.season, [unit], challenge.share)[0])  # fmt: skip

    def scored(self, inputs: Inputs, units: Sequence[str], open: npt.NDArray[np.bool_], offers: Sequence[str],
               families: Sequence[str], channels: Sequence[str]) -> dict[str, Matrix]:  # fmt: skip
        """What `score` says of customers of these units, as numbers; see Models.scored."""
        scores = self.champions.scored(inputs, open, offers, families, channels)
        drawn = {name: in_challenge(self.secret, name, challenge.season, units, challenge.share)
                 for name, challenge in self.challenges.items()}  # fmt: skip
        if any(mine.any() for mine in drawn.values()):
            rival = self.challengers.scored(inputs, open, offers, families, channels)
            for name, mine in drawn.items():
                for column in _COLUMNS[name]:
                    scores[column][mine] = rival[column][mine]
        return scores


def read_challenges(models: Path) -> dict[str, Challenge]:
    """Name -> challenger; BundleError where the file is not readable."""
    path = models / "challengers.json"
    if not path.exists():
        return {}
    try:
        found = {str(name): Challenge.model_validate(value) for name, value in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise BundleError(f"`{path.name}` is not readable; remove it and challenge again") from error
    if not set(found) <= set(_COLUMNS):
        raise BundleError(f"`{path.name}` names a model that cannot be challenged; remove it and challenge again")
    return found
