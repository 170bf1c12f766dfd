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
from rules.worth import Scored
from serving.campaign import Campaign, CampaignError, load_campaign, load_campaigns
from serving.ledger.keyring import Keyring
from serving.ledger.vault import Vault
from serving.live_models import Items, LiveModels, no_scores, none_scored
from serving.triggers import Trigger, load_triggers
from training.encode import RowEncoder
from training.explain import Explained
from training.inputs import RowInputs, row_encoders

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
    live: LiveModels
    campaigns: dict[str, Campaign]
    holidays: frozenset[date]
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
        live = LiveModels.of(home)
        policy, campaigns = _policy(folder, catalogue, store), load_campaigns(folder / "campaigns")
        engine = cls(home, store, catalogue, policy, live, campaigns, holidays_of(home), load_triggers(home),
                     revision_of(files_in(folder)))  # fmt: skip
        return engine._fed()._checked()

    def with_files(self, folder: Path, live_set: str) -> "Engine":
        """The same models and features under the policy, catalogue and campaigns of a folder; errors as in `open`."""
        catalogue = _catalogue(self.home, folder)
        policy, campaigns = _policy(folder, catalogue, self.store), load_campaigns(folder / "campaigns")
        return replace(self, catalogue=catalogue, policy=policy, campaigns=campaigns, live_set=live_set)._checked()

    def with_live_models(self) -> "Engine":
        """The same under the models live on disk now, and its siblings with it; BundleError or EngineError: as they were."""
        live, siblings = LiveModels.load(self.home.models, self.home.secret()), dict[str, Engine]()
        made = replace(self, live=live, siblings=siblings)._fed()
        for revision, one in dict(self.siblings).items():
            siblings[revision] = replace(one, live=live, siblings=siblings)
        return made

    def _fed(self) -> "Engine":
        missing = [name for name in self.live.columns if name not in self.store.schema.names]
        if missing:
            raise EngineError(f"a live model reads `{missing[0]}`, which no feature gives; retrain and promote it")
        return self

    def _checked(self) -> "Engine":
        for campaign in self.campaigns.values():
            campaign.audience_of(self.catalogue)
        return self

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
        return Terms(self.catalogue, self.policy, self.store.schema, day, tuple(c.audience_of(self.catalogue, day) for c in chosen),
                     exploration=EXPLORATION, holdout=Holdout(HOLDOUT_SHARE, season), paused=paused, secret=self.home.secret(),
                     holidays=self.holidays)  # fmt: skip

    def campaign(self, name: str) -> Campaign:
        """The campaign of that id; CampaignError with the ids there are, or that it is a draft."""
        if name not in self.campaigns:
            if (draft := self._draft(name)) is not None:
                raise CampaignError(
                    f"campaign `{name}` is a draft: `{draft}` is not in force; hand it in with nbo rules propose"
                )
            raise CampaignError(
                f"no campaign `{name}` in `{self.home.campaigns}`; there are: {', '.join(self.campaigns) or 'none'}"
            )
        return self.campaigns[name]

    def _draft(self, name: str) -> Path | None:
        """The home's file of a campaign that is not in this set; null where there is none."""
        for path in sorted(self.home.campaigns.glob("*.yaml")):
            try:
                found = load_campaign(path).id
            except CampaignError:
                found = path.stem
            if found == name:
                return path
        return None

    def snapshot(self, at: datetime) -> Snapshot | None:
        """The newest snapshot at or before an instant; None if there is none, or it cannot be read."""
        newest = self.store.newest(at)
        return None if newest is None or self.store.fault(newest) else newest

    def problems(self, at: datetime, snapshot: Snapshot | None = None) -> tuple[str, ...]:
        """Why marketing must stay silent, one line each; empty: nothing is wrong. snapshot: that of `at`, if at hand."""
        return (*self.live.problems(at), *self.staleness(at, snapshot))

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

    def revisions(self, at: datetime, terms: Terms, snapshot: Snapshot | None = None) -> dict[str, str]:
        """What decides: terms, policy, catalogue, snapshot and each model -> revision."""
        snapshot = snapshot or self.snapshot(at)
        return {
            "terms": terms.revision,
            **self._fixed,
            "snapshot": snapshot.path.stem if snapshot else "none",
            **self.live.revisions,
        }

    @cached_property
    def _fixed(self) -> dict[str, str]:
        return {
            "live_set": self.live_set,
            "policy": self.policy.revision,
            "catalogue": self.catalogue.revision,
            "features": self.store.revision,
        }

    def score(self, customers: pa.RecordBatch, open_: np.ndarray, degraded: bool = False) -> pa.RecordBatch:
        """SCORES of the live models for the open cells; all null when degraded, which silences."""
        return no_scores(self.items, customers.num_rows) if degraded else self.live.score(self.items, customers, open_)

    def score_few(self, units: Sequence[str], rows: Sequence[Row], open_: np.ndarray, degraded: bool = False) -> Scored:
        """What `score` says of customers of these units, as numbers. rows: as FeatureStore.latest_rows gives them."""
        if degraded:
            return none_scored(self.items, len(rows))
        place = self.store.one_row.texts.index("customer_id")
        return self.live.score_few(self.items, units, [row.texts[place] or "" for row in rows], self._inputs(rows), open_)  # fmt: skip

    def explained(self, unit: str, row: Row, offer: str) -> Explained | None:
        """What moves the interest of a customer of that unit in an offer; null where no model says."""
        return self.live.explained(unit, self._inputs([row]), offer)

    def _inputs(self, rows: Sequence[Row]) -> RowInputs:
        return RowInputs(self._encoders, self.store.one_row.vectors(rows), [row.texts for row in rows])

    @cached_property
    def items(self) -> Items:
        """What the models are asked about."""
        return Items.of(self.catalogue)

    @cached_property
    def _encoders(self) -> dict[str, RowEncoder]:
        return row_encoders(self.live.bundles, self.store.one_row.vector_names, self.store.one_row.texts)

    @cached_property
    def vault(self) -> Vault:
        """The vault that closes and opens the payload of records."""
        return Vault(keyring_of(self.home))

    @cached_property
    def assumptions(self) -> tuple[str, ...]:
        """What the bank's data lack and what the models take for granted."""
        return (*self.home.assumptions(), *self.live.models.assumptions)


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


def holidays_of(home: Home) -> frozenset[date]:
    """Days that are a holiday everywhere; regional ones wait for a region on the customer."""
    parts = sorted(home.table("calendar").glob("part-*.parquet"))
    days: set[date] = set()
    for part in parts:
        table = pq.read_table(part, columns=["day", "region"])
        days |= {row["day"] for row in table.to_pylist() if row["region"] == "all"}
    return frozenset(days)
