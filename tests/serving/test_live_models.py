"""The models of a home: what is said where one is missing, damaged or must not be asked."""

import json
from pathlib import Path

import numpy as np
import pytest

from features.home import Home
from rules.types import scores_schema
from serving.live_models import Items, LiveModels, no_scores, none_scored
from serving.office import Office
from tests.home import NOW
from training.errors import BundleError


def test_items_stand_in_the_order_of_the_catalogue(office: Office) -> None:
    catalogue = office.engine.catalogue
    items = Items.of(catalogue)
    assert [(offer.id, offer.family) for offer in catalogue.offers] == list(
        zip(items.offers, items.families, strict=True)
    )
    assert [channel.id for channel in catalogue.channels] == list(items.channels)


def test_the_models_of_a_home_are_those_that_live_json_names(bank: Path) -> None:
    live = LiveModels.of(Home.open(bank))
    named = json.loads((bank / "models" / "live.json").read_text())
    assert live.revisions == {f"model_{name}": sha for name, sha in named.items()}
    assert len(live.bundles) == len(named)
    assert live.problems(NOW) == ()
    assert set(live.columns) == {feature.name for one in live.bundles for feature in one.manifest.features}


def test_a_missing_model_is_named(bank: Path) -> None:
    file = bank / "models" / "live.json"
    file.write_text(json.dumps({name: sha for name, sha in json.loads(file.read_text()).items() if name != "harm"}))
    live = LiveModels.of(Home.open(bank))
    assert live.problems(NOW) == ("no live model `harm`; train and promote it",)


def test_a_damaged_model_silences_and_is_told(bank: Path) -> None:
    home = Home.open(bank)
    sha = json.loads((bank / "models" / "live.json").read_text())["interest"]
    damaged = next(path for path in (bank / "models" / sha).iterdir() if path.name != "manifest.json")
    damaged.write_bytes(damaged.read_bytes() + b" ")
    with pytest.raises(BundleError):
        LiveModels.load(home.models, home.secret())
    live = LiveModels.of(home)
    assert (live.bundles, live.columns, live.revisions) == ((), (), {})
    assert live.problems(NOW) == live.damaged != ()


def test_of_whom_nothing_is_said_every_score_is_null(office: Office) -> None:
    items = office.engine.items
    told, numbers = no_scores(items, 3), none_scored(items, 3)
    assert told.schema == scores_schema(len(items.offers), len(items.channels))
    for name, column in zip(told.schema.names, told.columns, strict=True):
        assert column.null_count == 3
        assert np.isnan(getattr(numbers, name)).all()
        kind = told.schema.field(name).type
        wide = (3, kind.list_size) if hasattr(kind, "list_size") else (3,)
        assert getattr(numbers, name).shape == wide
