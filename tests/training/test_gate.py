"""Each line of the gate, read from manifests alone."""

import pytest

from tests.training.small import GOOD, NAMES, small_booster, small_manifest
from training.bundle import Part
from training.errors import GateError
from training.gate import gate
from training.scorer import ConstantModel, ConstantScorer
from training.trainers import ALL_REACHED, NO_HARM
from training.value import ValueFormula, ValueModel


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"auc": 0.51, "auc_low": 0.49}, r"auc 0\.5100 \(from 0\.4900\) not surely above 0\.5 on the latest slice"),
        ({"auc": None}, r"auc not measurable, the latest slice lacks a class"),
        ({"gain_low": -0.01},
         r"part `churn`: auc 0\.7000 of lightgbm against 0\.6900 of logistic, gain \+0\.0100 \(-0\.0100 to \+0\.0300\)"
         r" not surely above 0; tune, or serve the baseline$"),
        ({"gain_low": None}, r"part `churn`: no logistic baseline was measured beside it; train it again$"),
        ({"live_gain": -0.02, "live_gain_low": -0.03, "live_gain_high": -0.01},
         r"against the live version, on rows neither has learned from, auc -0\.0200 \(-0\.0300 to -0\.0100\): surely worse"
         r"; keep what is live$"),
        ({"ece": 0.11}, r"ece 0\.1100 > 0\.1 on the latest slice"),
    ],
)  # fmt: skip
def test_the_gate_names_the_failing_line(change: dict[str, float | None], line: str) -> None:
    parts: dict[str, Part] = {"churn": small_booster()}
    assert "auc 0.7000" in gate(small_manifest("churn", parts, metrics=GOOD))
    with pytest.raises(GateError, match=f"^model `churn` stays out: {line}"):
        gate(small_manifest("churn", parts, metrics=GOOD | change))


def test_parts_that_win_alone_and_lose_together_stay_out() -> None:
    parts: dict[str, Part] = {"card": small_booster(), "pooled": small_booster(2, ("offer",))}
    manifest = small_manifest("interest", parts)
    assert "part `card`" in gate(manifest) and "part `pooled`" in gate(manifest)
    lost = manifest.model_copy(
        update={"metrics": GOOD | {"auc": 0.68, "gain": -0.01, "gain_low": -0.02, "gain_high": -0.001}}
    )
    with pytest.raises(
        GateError, match=r"all parts: auc 0\.6800 against 0\.6900 of the logistic baseline.*; serve the baseline$"
    ):
        gate(lost)


def test_a_baseline_that_won_goes_live_without_beating_anybody() -> None:
    manifest = small_manifest("churn", {"churn": small_booster()}, metrics=GOOD | {"gain_low": -0.01})
    won = {"churn": manifest.parts["churn"].model_copy(update={"served": "logistic"})}
    assert "auc 0.7000" in gate(manifest.model_copy(update={"parts": won}))


@pytest.mark.parametrize(
    ("name", "stays_out"), [("interest", True), ("churn", True), ("harm", False), ("reach", False)]
)
def test_a_label_of_one_class_is_not_promoted_unless_the_source_is_silent_about_it(name: str, stays_out: bool) -> None:
    parts: dict[str, Part] = {"pooled": ConstantScorer(NAMES, ConstantModel(p=0.0, why="no positives"))}
    manifest = small_manifest(name, parts)
    note = manifest.parts["pooled"].model_copy(update={"note": "no positives in 600 rows: everybody gets the rate 0"})
    manifest = manifest.model_copy(update={"parts": {"pooled": note}})
    if not stays_out:
        assert "served by constant" in gate(manifest)
        return
    with pytest.raises(GateError, match=r"part `pooled`: no positives in 600 rows.*; import more history"):
        gate(manifest)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"live_gain": -0.2, "live_gain_low": -0.25, "live_gain_high": -0.15},
         r"against the live version, .* auc -0\.2000 \(-0\.2500 to -0\.1500\): surely worse; keep what is live$"),
        ({"ece": 0.4}, r"ece 0\.4000 > 0\.1 on the latest slice; calibrate on newer data$"),
    ],
)  # fmt: skip
def test_a_constant_does_not_replace_what_surely_ranks_better(change: dict[str, float | None], line: str) -> None:
    parts: dict[str, Part] = {"churn": ConstantScorer(NAMES, ConstantModel(p=0.1, why="no signal"))}
    figures = GOOD | {"auc": 0.5, "auc_low": 0.5}
    assert "served by constant" in gate(small_manifest("churn", parts, metrics=figures))
    with pytest.raises(GateError, match=f"^model `churn` stays out: {line}"):
        gate(small_manifest("churn", parts, metrics=figures | change))


def test_a_ranking_of_a_handful_of_positives_is_not_sure() -> None:
    parts: dict[str, Part] = {"churn": small_booster()}
    assert "auc 0.7000" in gate(small_manifest("churn", parts, metrics=GOOD | {"positives": 20.0}))
    for positives in (19.0, 1990.0):
        with pytest.raises(GateError, match=r"in 2000 rows of the latest slice proves no ranking, 20 of either class"):
            gate(small_manifest("churn", parts, metrics=GOOD | {"positives": positives}))


def test_what_was_not_compared_with_the_live_version_is_said() -> None:
    parts: dict[str, Part] = {"churn": small_booster()}
    live = small_manifest("churn", parts)
    few = small_manifest("churn", parts, metrics=GOOD | {"live_rows": 300.0, "live_positives": 12.0})
    assert "compared with" not in gate(live)
    assert "not compared with the live version: 0 rows, 0 positives, that neither has learned from" in gate(live, live)
    assert "not compared with the live version: 300 rows, 12 positives, that neither has learned from" in gate(
        few, live
    )


@pytest.mark.parametrize("name", ["churn", "interest", "harm"])
def test_a_constant_that_was_not_compared_does_not_replace_what_ranks(name: str) -> None:
    """Mutant: a slice of 15 positives proves no ranking, and the rate for everybody goes live over one that was proved."""
    constant: dict[str, Part] = {"pooled": ConstantScorer(NAMES, ConstantModel(p=0.01, why="15 positives"))}
    ranks: dict[str, Part] = {"pooled": small_booster()}
    figures = GOOD | {"auc": 0.5, "auc_low": 0.5, "live_rows": 4000.0, "live_positives": 15.0}
    manifest, live = small_manifest(name, constant, metrics=figures), small_manifest(name, ranks)
    assert "served by constant" in gate(manifest) and "served by constant" in gate(manifest, manifest)
    with pytest.raises(
        GateError,
        match="not compared with the live version: 4000 rows, 15 positives, that neither has learned from, too few"
        " to tell that a constant ranks no worse; keep what is live",
    ):
        gate(manifest, live)
    compared = {"live_gain": -0.01, "live_gain_low": -0.05, "live_gain_high": 0.03}
    assert "against the live version" in gate(small_manifest(name, constant, metrics=figures | compared), live)


@pytest.mark.parametrize(("name", "declared"), [("reach", ALL_REACHED), ("harm", NO_HARM)])
def test_a_constant_of_a_silent_source_replaces_what_ranked(name: str, declared: str) -> None:
    constant: dict[str, Part] = {"pooled": ConstantScorer(NAMES, ConstantModel(p=0.0, why=declared))}
    manifest = small_manifest(name, constant).model_copy(update={"assumptions": (declared,)})
    assert "compared with" not in gate(manifest, small_manifest(name, {"pooled": small_booster()}))


def test_an_earlier_cut_does_not_replace_a_later_one_unless_it_surely_ranks_better() -> None:
    parts: dict[str, Part] = {"churn": small_booster()}
    manifest = small_manifest("churn", parts)  # cut at 2026-06-01
    same, later = manifest, manifest.model_copy(update={"trained_as_of": "2026-07-01T00:00:00Z"})
    assert "cut at" not in gate(manifest) + gate(manifest, same)
    with pytest.raises(
        GateError,
        match=r"cut at 2026-06-01T00:00:00Z, before the live version's 2026-07-01T00:00:00Z, and does not surely",
    ):
        gate(manifest, later)
    better = {"live_gain": 0.05, "live_gain_low": 0.01, "live_gain_high": 0.09}
    assert "surely ranks better on rows" in gate(small_manifest("churn", parts, metrics=GOOD | better), later)


def test_a_formula_of_an_earlier_cut_is_not_told_of_ranks() -> None:
    parts: dict[str, Part] = {"value": ValueFormula(("purchase_sum_365d",), ValueModel())}
    manifest = small_manifest("value", parts, metrics={"annual_churn": 0.1})
    later = manifest.model_copy(update={"trained_as_of": "2026-07-01T00:00:00Z"})
    with pytest.raises(
        GateError, match=r"before the live version's 2026-07-01T00:00:00Z; take a later cut, or keep what is live$"
    ):
        gate(manifest, later)


def test_p28_an_alarm_keeps_the_best_figures_out() -> None:
    parts: dict[str, Part] = {"churn": small_booster()}
    manifest = small_manifest("churn", parts)
    assert "no feature from the future" in gate(manifest)
    rung = manifest.model_copy(update={"alarms": ("feature `closed_count_30d` alone ranks the label with auc 0.9998",)})
    with pytest.raises(GateError, match=r"^model `churn` stays out: feature `closed_count_30d` alone ranks"):
        gate(rung)
