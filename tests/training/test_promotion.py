"""P23: rollback of a model gives exactly the former scores."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from features.home import Home
from tests.training.small import (
    CHANNELS,
    END,
    GOOD,
    OFFERS,
    draw_matrix,
    small_booster,
    small_manifest,
    write_small,
)
from training.bundle import Bundle, Part, read_bundle, write_bundle
from training.encode import Feature
from training.errors import GateError, RegistryError
from training.model_commands import models_app
from training.promotion import promote, read_history_of, rollback
from training.registry import Registry
from training.score import Models, read_live
from training.tiers import tier_table, write_tiers
from training.value import ValueFormula, ValueModel


def scores(home: Home, customers: pa.Table) -> pa.RecordBatch:
    every = np.ones((customers.num_rows, len(OFFERS) * len(CHANNELS)), bool)
    return Models.load(home.models).score(customers, every, OFFERS, ("card", "loan"), CHANNELS)


def test_p23_rollback_gives_the_former_scores_byte_for_byte(
    new_home: Callable[[str], Home], customers: pa.Table
) -> None:
    home = new_home("home")
    registry = Registry.open(home.mlflow_uri)
    for name in ("interest", "reach"):
        registry.log(write_small(home.path / "drafts", name), {"seed": 1}, {})
        promote(home, name, "1", registry)
    before, files = scores(home, customers), (home.models / "live.json").read_bytes()
    registry.log(write_small(home.path / "drafts", "interest", seed=40), {"seed": 40}, {"logistic_auc": 0.6})
    promote(home, "interest", "2", registry)
    assert not scores(home, customers).equals(before)
    assert [v.live for v in registry.versions("interest")] == [False, True]
    former = rollback(home, "interest", registry)
    assert scores(home, customers).equals(before)
    assert (home.models / "live.json").read_bytes() == files
    assert former.name == read_live(home.models)["interest"]
    assert [v.live for v in registry.versions("interest")] == [True, False]
    with pytest.raises(RegistryError, match=r"^model `interest` has no former version; promote one instead$"):
        rollback(home, "interest", registry)


def test_promoting_the_live_version_again_changes_nothing(new_home: Callable[[str], Home]) -> None:
    home = new_home("home")
    registry = Registry.open(home.mlflow_uri)
    registry.log(write_small(home.path / "drafts", "churn"), {}, {})
    assert promote(home, "churn", "1", registry) == promote(home, "churn", "1", registry)
    assert read_history_of(home.models) == {}


def test_a_refused_model_leaves_everything_as_it_was(new_home: Callable[[str], Home]) -> None:
    home = new_home("home")
    registry = Registry.open(home.mlflow_uri)
    parts: dict[str, Part] = {"pooled": small_booster(1, ("channel",))}
    context = Feature(name="channel", kind="enum", domain=CHANNELS)
    poor = small_manifest("reach", parts, context, GOOD | {"auc": 0.5, "auc_low": 0.4})
    registry.log(write_bundle(home.path / "drafts", poor, parts, draw_matrix(4)), {}, {})
    with pytest.raises(GateError):
        promote(home, "reach", "1", registry)
    assert read_live(home.models) == {} and list(home.models.glob("*/manifest.json")) == []
    assert not registry.versions("reach")[0].live


@pytest.mark.parametrize(
    ("name", "version", "line"),
    [
        ("reech", "1", "no model `reech`; there are interest, reach"),
        ("reach", "9", "no version `9` of model `reach`"),
    ],
)
def test_strangers_are_refused(new_home: Callable[[str], Home], name: str, version: str, line: str) -> None:
    with pytest.raises(RegistryError, match=line):
        promote(new_home("home"), name, version)


def test_p23_rollback_of_value_brings_the_former_tiers_back(new_home: Callable[[str], Home]) -> None:
    """Mutant shown beside it: a file of tiers that is not named by the live model changes nobody's tier."""
    home = new_home("home")
    registry = Registry.open(home.mlflow_uri)
    for number, contribution in enumerate(([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]), 1):
        people = pl.DataFrame({"customer_id": ["A", "B", "C"]})
        sha = write_tiers(home.models, tier_table(people, np.asarray(contribution) * 1e5, ValueModel(), END, "CNY"))
        parts: dict[str, Part] = {"value": ValueFormula(("purchase_sum_365d",), ValueModel())}
        manifest = small_manifest("value", parts, metrics={}).model_copy(update={"dataset": sha})
        registry.log(
            write_bundle(home.path / "drafts", manifest, parts, draw_matrix(2, 2)[:, :1]), {"turn": number}, {}
        )
    tiers: list[list[str | None]] = []
    for step in (lambda: promote(home, "value", "1", registry), lambda: promote(home, "value", "2", registry),
                 lambda: rollback(home, "value", registry)):  # fmt: skip
        step()
        models = Models.load(home.models)
        tiers.append([models.tier(who) for who in ("A", "B", "C", "stranger")])
    assert tiers[0] == tiers[2] == ["base", "middle", "top", None]
    assert tiers[1] == ["top", "middle", "base", None]


def test_p07_tiers_that_are_damaged_are_null_and_silence_nothing(live: Path) -> None:
    models = Models.load(live)
    assert models.tiers is None and models.tier("A") is None and models.missing == ()


def put_versions(home: Home, *cuts: str) -> Registry:
    """Versions of churn, alike but for their cuts, registered in this order."""
    registry = Registry.open(home.mlflow_uri)
    parts: dict[str, Part] = {"churn": small_booster()}
    for cut in cuts:
        manifest = small_manifest("churn", parts).model_copy(update={"trained_as_of": cut})
        registry.log(write_bundle(home.path / "drafts", manifest, parts, draw_matrix(4)), {"as_of": cut}, {})
    return registry


def test_promoting_an_earlier_cut_is_refused_and_leaves_the_later_one(new_home: Callable[[str], Home]) -> None:
    home = new_home("home")
    registry = put_versions(home, "2026-06-01T00:00:00Z", "2026-03-01T00:00:00Z")
    promote(home, "churn", "1", registry)
    before = read_live(home.models)
    with pytest.raises(GateError, match="cut at 2026-03-01T00:00:00Z, before the live version's 2026-06-01T00:00:00Z"):
        promote(home, "churn", "2", registry)
    assert read_live(home.models) == before


def test_the_gate_is_asked_again_where_another_goes_live_meanwhile(
    new_home: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutant: asked before the lock alone, of two promotions at once the earlier cut may stay."""
    home = new_home("home")
    registry = put_versions(home, "2026-06-01T00:00:00Z", "2026-03-01T00:00:00Z")

    def slowly(path: Path) -> Bundle:
        monkeypatch.setattr("training.promotion.read_bundle", read_bundle)
        promote(home, "churn", "1", registry)
        return read_bundle(path)

    monkeypatch.setattr("training.promotion.read_bundle", slowly)
    with pytest.raises(GateError, match="cut at 2026-03-01T00:00:00Z, before the live version's"):
        promote(home, "churn", "2", registry)
    assert [v.live for v in registry.versions("churn")] == [True, False]
    assert read_history_of(home.models) == {}


def test_what_promote_says_is_what_was_checked(new_home: Callable[[str], Home]) -> None:
    """Mutant: the gate asked once more without what was live says less than it checked."""
    home = new_home("home")
    registry = Registry.open(home.mlflow_uri)
    parts: dict[str, Part] = {"churn": small_booster()}
    better = GOOD | {"live_gain": 0.05, "live_gain_low": 0.01, "live_gain_high": 0.09}
    for cut in ("2026-06-01T00:00:00Z", "2026-03-01T00:00:00Z"):
        manifest = small_manifest("churn", parts, metrics=better).model_copy(update={"trained_as_of": cut})
        registry.log(write_bundle(home.path / "drafts", manifest, parts, draw_matrix(4)), {"as_of": cut}, {})
    first = CliRunner().invoke(models_app, ["promote", "churn", "1", "--json"], obj=home.path)
    then = CliRunner().invoke(models_app, ["promote", "churn", "2", "--json"], obj=home.path)
    assert "cut at" not in json.loads(first.stdout)["gate"]
    assert "cut at 2026-03-01T00:00:00Z, before the live version's" in json.loads(then.stdout)["gate"]
