"""P23: rollback of a model gives exactly the former scores."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from features.home import Home
from tests.training.small import (
    CHANNELS,
    GOOD,
    OFFERS,
    draw_matrix,
    small_booster,
    small_manifest,
    write_small,
)
from training.bundle import Part, write_bundle
from training.encode import Feature
from training.errors import GateError, RegistryError
from training.promotion import gate, promote, read_history_of, rollback
from training.registry import Registry
from training.score import Models, read_live


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


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"auc": 0.51, "auc_low": 0.49}, r"auc 0\.5100 \(from 0\.4900\) not surely above 0\.5 on the latest slice"),
        ({"auc": None}, r"auc not measurable, the latest slice lacks a class"),
        ({"gain_high": -0.001}, r"auc 0\.7000 against 0\.6900 of the logistic baseline, gain \+0\.0100"),
        ({"ece": 0.11}, r"ece 0\.1100 > 0\.1 on the latest slice"),
    ],
)
def test_the_gate_names_the_failing_line(change: dict[str, float | None], line: str) -> None:
    parts: dict[str, Part] = {"churn": small_booster()}
    assert "auc 0.7000" in gate(small_manifest("churn", parts, metrics=GOOD))
    with pytest.raises(GateError, match=f"^model `churn` stays out: {line}"):
        gate(small_manifest("churn", parts, metrics=GOOD | change))


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
