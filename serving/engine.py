"""Engine: models, catalogue, policy, campaigns and features of one home, checked to fit together.

The only place where the rooms meet. Immutable: a change opens a new engine, and the reference is
swapped as a whole.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.base import Row
from features.home import Home
from features.store import FeatureStore, Snapshot
from rules.catalogue import Catalogue, load_catalogue
from rules.liveset import CATALOGUE_FILE, files_in, revision_of
from rules.policy import ContactPolicy, load_policy
from rules.terms import Exploration, Holdout, Terms
from rules.types import scores_schema
from rules.worth import Scored
from serving.campaign import Campaign, CampaignError, load_campaigns
from serving.ledger.keyring import Keyring
from serving.ledger.vault import Vault
from serving.triggers import Trigger, load_triggers
from training.challenger import Duel, read_challenges
from training.encode import RowEncoder
from training.errors import BundleError
from training.explain import Explained, explained
from training.inputs import RowInputs, row_encoders
from training.score import Models
from training.supplied import NOTHING_SUPPLIED, Supplied

EXPLORATION = Exploration(share=0.02, max_loss_minor=2_000)
HOLDOUT_SHARE = 0.02


class EngineError(ValueError):
    """The parts of a home do not fit together; one line: what, where, remedy."""


@dataclass(frozen=True, eq=False)  # one engine equals itself alone, which makes it hashable
class Engine:
    """Everything a decision needs but the customer and the ledger."""

    home: Home
    store: FeatureStore
    catalogue: Catalogue
    policy: ContactPolicy
    models: Models
    campaigns: dict[str, Campaign]
    holidays: frozenset[date]
    damaged: tuple[str, ...] = ()  # what is wrong with the live models: then none is used
    duel: Duel | None = None  # the same models beside their challengers
    supplied: Supplied = NOTHING_SUPPLIED  # the bank's own scores of some families
    triggers: tuple[Trigger, ...] = ()
    live_set: str = ""  # the revision of the files it was opened with
    siblings: dict[str, "Engine"] = field(default_factory=dict)  # of other sets, shared by all of a home

    @classmethod
    def open(cls, home: Home, folder: Path | None = None) -> "Engine":
        """Read and check a home; EngineError, PolicyError or CatalogueError in one line.

        folder: where catalogue, policy and campaigns stand, laid out like a home; null: the home itself.
        """
        folder = folder or home.path
        catalogue, store = _catalogue(home, folder), FeatureStore(home)
        models, duel, supplied, damaged = _live(home)
        policy, campaigns = _policy(folder, catalogue, store), load_campaigns(folder / "campaigns")
        engine = cls(home, store, catalogue, policy, models, campaigns, holidays_of(home), damaged, duel, supplied,
                     load_triggers(home), revision_of(files_in(folder)))  # fmt: skip
        return engine._fed()._checked()

    def with_files(self, folder: Path, live_set: str) -> "Engine":
        """The same models and features under the policy, catalogue and campaigns of a folder; errors as in `open`."""
        catalogue = _catalogue(self.home, folder)
        policy, campaigns = _policy(folder, catalogue, self.store), load_campaigns(folder / "campaigns")
        return replace(self, catalogue=catalogue, policy=policy, campaigns=campaigns, live_set=live_set)._checked()

    def with_live_models(self) -> "Engine":
        """The same under the models live on disk now, and its siblings with it; BundleError or EngineError: as they were."""
        models, duel, supplied = _opened(self.home)
        siblings: dict[str, Engine] = {}
        made = replace(self, models=models, duel=duel, supplied=supplied, damaged=(), siblings=siblings)._fed()
        for revision, one in dict(self.siblings).items():
            siblings[revision] = replace(
                one, models=models, duel=duel, supplied=supplied, damaged=(), siblings=siblings
            )
        return made

    def _fed(self) -> "Engine":
        missing = [name for name in self.model_columns if name not in self.store.schema.names]
        if missing:
            raise EngineError(f"a live model reads `{missing[0]}`, which no feature gives; retrain and promote it")
        return self

    def _checked(self) -> "Engine":
        for campaign in self.campaigns.values():
            campaign.audience_of(self.catalogue)
        return self

    @property
    def model_columns(self) -> tuple[str, ...]:
        """Feature columns that a live model, or its challenger, reads."""
        rival = self.duel.challengers.columns if self.duel else ()
        return tuple(dict.fromkeys([*self.models.columns, *rival]))

    @cached_property
    def families(self) -> dict[str, str]:
        """Offer -> family."""
        return {offer.id: offer.family for offer in self.catalogue.offers}

    def day(self, at: datetime) -> date:
        """The bank's day."""
        return at.astimezone(self.home.settings.tz).date()

    def terms(self, at: datetime, paused: Iterable[str] = (), campaigns: Iterable[str] | None = None,
              prices: tuple[int, ...] = ()) -> Terms:  # fmt: skip
        """The terms in force at an instant; campaigns: those by name, else all of the day; prices: bid prices by cell."""
        names = None if campaigns is None else tuple(campaigns)
        return self._priced(self.day(at), frozenset(paused), names, prices)

    @lru_cache(maxsize=32)  # noqa: B019  # an engine lives as long as the process, or as its own terms
    def _priced(self, day: date, paused: frozenset[str], names: tuple[str, ...] | None, prices: tuple[int, ...]) -> Terms:  # fmt: skip
        return self._terms(day, paused, names).priced(prices)

    @lru_cache(maxsize=32)  # noqa: B019  # as above
    def _terms(self, day: date, paused: frozenset[str], names: tuple[str, ...] | None) -> Terms:
        chosen = (
            [c for c in self.campaigns.values() if c.in_force(day)]
            if names is None
            else [self.campaign(n) for n in names]
        )
        season = f"{day.year}H{1 if day.month <= 6 else 2}"
        return Terms(self.catalogue, self.policy, self.store.schema, day, tuple(c.audience_of(self.catalogue) for c in chosen),
                     exploration=EXPLORATION, holdout=Holdout(HOLDOUT_SHARE, season), paused=paused, secret=self.home.secret(),
                     holidays=self.holidays)  # fmt: skip

    def campaign(self, name: str) -> Campaign:
        """The campaign of that id; CampaignError with the ids there are."""
        if name not in self.campaigns:
            raise CampaignError(
                f"no campaign `{name}` in `{self.home.campaigns}`; there are: {', '.join(self.campaigns) or 'none'}"
            )
        return self.campaigns[name]

    def snapshot(self, at: datetime) -> Snapshot | None:
        """The newest snapshot at or before an instant; None if there is none, or it cannot be read."""
        newest = self.store.newest(at)
        return None if newest is None or self.store.fault(newest) else newest

    def problems(self, at: datetime, snapshot: Snapshot | None = None) -> tuple[str, ...]:
        """Why marketing must stay silent, one line each; empty: nothing is wrong. snapshot: that of `at`, if at hand."""
        missing = tuple(f"no live model `{name}`; train and promote it" for name in self.models.missing)
        return (*(self.damaged or missing), *self.supplied.problems(at), *self.staleness(at, snapshot))

    def staleness(self, at: datetime, snapshot: Snapshot | None = None) -> tuple[str, ...]:
        """Why the features cannot be trusted at an instant, one line; empty: they can."""
        snapshot, age = snapshot or self.snapshot(at), timedelta(hours=self.home.settings.snapshot_max_age_hours)
        if snapshot is None:
            newest = self.store.newest(at)
            fault = newest and self.store.fault(newest)
            return (fault or "no feature snapshot; nbo features build",)
        if at - snapshot.as_of > age:
            return (f"the newest snapshot is of {snapshot.as_of:%FT%TZ}, older than {age}; nbo features build",)
        return ()

    def score(self, customers: pa.RecordBatch, open_: np.ndarray, degraded: bool = False) -> pa.RecordBatch:
        """SCORES of the live models for the open cells; all null when degraded, which silences."""
        parts = None if degraded else (self.models, self.duel, self.supplied)
        return score_with(self.catalogue, parts, customers, open_)

    def score_few(self, units: Sequence[str], rows: Sequence[Row], open_: np.ndarray, degraded: bool = False) -> Scored:
        """What `score` says of customers of these units, as numbers. rows: as FeatureStore.latest_rows gives them."""
        (offers, families, channels), n, one = self._items, len(rows), self.store.one_row
        if degraded:
            wide = ((n, len(offers)), (n, len(offers)), (n, len(channels)), (n, len(channels)), (n,), (n,))
            return Scored(*(np.full(shape, np.nan) for shape in wide))
        texts = [row.texts for row in rows]
        inputs = RowInputs(self._encoders, one.vectors(rows), texts)
        if self.duel is not None:
            found = self.duel.scored(inputs, units, open_, offers, families, channels)
        else:
            found = self.models.scored(inputs, open_, offers, families, channels)
        if self.supplied.tables:
            place = one.texts.index("customer_id")
            customers = [said[place] or "" for said in texts]
            found["p_interest"] = self.supplied.over_few(found["p_interest"], customers, families)
        return Scored(**found)

    def explained(self, unit: str, row: Row, offer: str) -> Explained | None:
        """What moves the interest of a customer of that unit in an offer; null where no model says."""
        models = self.models
        if self.duel is not None and "interest" in self.duel.decides(unit):
            models = self.duel.challengers
        bundle = models.bundles.get("interest")
        if bundle is None:
            return None
        inputs = RowInputs(self._encoders, self.store.one_row.vectors([row]), [row.texts])
        return explained(bundle, offer, inputs.matrix(bundle))

    @cached_property
    def _items(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Offers, their families, channels, in the catalogue's order."""
        offers = self.catalogue.offers
        return (
            tuple(o.id for o in offers),
            tuple(o.family for o in offers),
            tuple(c.id for c in self.catalogue.channels),
        )

    @cached_property
    def _encoders(self) -> dict[str, RowEncoder]:
        one, rival = self.store.one_row, self.duel.challengers.bundles.values() if self.duel else ()
        return row_encoders([*self.models.bundles.values(), *rival], one.vector_names, one.texts)

    def revisions(self, at: datetime, terms: Terms, snapshot: Snapshot | None = None) -> dict[str, str]:
        """What decides: terms, policy, catalogue, snapshot and each model -> revision."""
        snapshot = snapshot or self.snapshot(at)
        return {
            "terms": terms.revision,
            **self._fixed,
            "snapshot": snapshot.path.stem if snapshot else "none",
            **self._scoring,
        }

    @cached_property
    def _fixed(self) -> dict[str, str]:
        return {
            "live_set": self.live_set,
            "policy": self.policy.revision,
            "catalogue": self.catalogue.revision,
            "features": self.store.revision,
        }

    @cached_property
    def _scoring(self) -> dict[str, str]:
        return {**{f"model_{name}": sha for name, sha in self.models.revisions.items()},
                **(self.duel.revisions if self.duel else {}), **self.supplied.revisions}  # fmt: skip

    @cached_property
    def vault(self) -> Vault:
        """The vault that closes and opens the payload of records."""
        return Vault(keyring_of(self.home))

    @cached_property
    def assumptions(self) -> tuple[str, ...]:
        """What the bank's data lack and what the models take for granted."""
        return (*self.home.assumptions(), *self.models.assumptions)


Parts = tuple[Models, Duel | None, Supplied]


def score_with(
    catalogue: Catalogue, parts: Parts | None, customers: pa.RecordBatch, open_: np.ndarray
) -> pa.RecordBatch:
    """SCORES for the open cells by models, their challengers and the bank's own scores; parts null: all null."""
    offers, channels = [o.id for o in catalogue.offers], [c.id for c in catalogue.channels]
    if parts is None:
        schema = scores_schema(len(offers), len(channels))
        return pa.RecordBatch.from_arrays([pa.nulls(customers.num_rows, f.type) for f in schema], schema=schema)
    models, duel, supplied = parts
    families = [o.family for o in catalogue.offers]
    scores = (duel or models).score(customers, open_, offers, families, channels)
    return supplied.over(scores, customers, families)


def _catalogue(home: Home, folder: Path) -> Catalogue:
    """The catalogue of a folder, in the home's currency."""
    path = folder / CATALOGUE_FILE
    if not path.is_file():
        raise EngineError(f"`{path}` is missing; nbo init {home.path} writes an example")
    catalogue = load_catalogue(path)
    if catalogue.base_currency != home.settings.currency:
        raise EngineError(
            f"`{path}` counts in {catalogue.base_currency}, bank.yaml in {home.settings.currency}; make them one"
        )
    return catalogue


def _policy(folder: Path, catalogue: Catalogue, store: FeatureStore) -> ContactPolicy:
    """The one policy of a folder, checked against catalogue and features."""
    policies = sorted(p for p in (folder / "policies").glob("*.yaml") if p.name.count(".") == 1)
    if len(policies) != 1:
        raise EngineError(f"`{folder / 'policies'}` holds {len(policies)} policies; exactly one may be in force")
    return load_policy(policies[0], catalogue, store.schema)


def keyring_of(home: Home) -> Keyring:
    """The home's keys for seals and for the vault."""
    return Keyring(home.path / "keyring.json", home.secret())


def _live(home: Home) -> tuple[Models, Duel | None, Supplied, tuple[str, ...]]:
    """What `_opened` says, and what is wrong with it.

    A damaged one silences marketing and no more: opt-outs and outcomes are still taken.
    """
    try:
        return *_opened(home), ()
    except BundleError as error:
        return Models({}), None, NOTHING_SUPPLIED, (str(error),)


def _opened(home: Home) -> Parts:
    return live_parts(home.models, home.secret())


def live_parts(folder: Path, secret: bytes) -> Parts:
    """The live models of a folder, their challengers, the bank's own scores; BundleError where one is damaged."""
    models = Models.load(folder)
    duel = Duel.load(folder, models, secret) if read_challenges(folder) else None
    return models, duel, Supplied.load(folder)


def holidays_of(home: Home) -> frozenset[date]:
    """Days that are a holiday everywhere; regional ones wait for a region on the customer."""
    parts = sorted(home.table("calendar").glob("part-*.parquet"))
    days: set[date] = set()
    for part in parts:
        table = pq.read_table(part, columns=["day", "region"])
        days |= {row["day"] for row in table.to_pylist() if row["region"] == "all"}
    return frozenset(days)
