"""Any table: real public data, our served model beside scikit-learn's HistGradientBoosting in the same run.

Nothing is chosen on a test part: settings, candidate, calibration and uplift learner come from folds
of the fitting part (training/table.py); the peer runs as it ships, with its categories declared.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

from benchmarks.table import Table
from training.columns import plan_columns
from training.encode import categorical_places
from training.qini import net_gain
from training.roles import binary
from training.table import train_table
from training.tablefile import read_table

DATA = Path(os.environ.get("NBO_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
UCI, BERKA = "uci_bank/bank-full.csv", "berka/basetable_1996_targets_1997.csv"
STARBUCKS, STARBUCKS_TEST = "starbucks_promo/training.csv", "starbucks_promo/Test.csv"
BERKA_LABELS = (("dv_card_1997", "dv_loan_1997"), ("dv_loan_1997", "dv_card_1997"))
VALUE, COST = 10.0, 0.15  # a purchase and a promotion, USD: part of the experiment's task
REPEATS, REPEATS_QUICK, REPEATS_LOAN = 20, 2, 3


@dataclass(frozen=True)
class Areas:
    """AUC on one test part: what is served, our logistic baseline, the peer."""

    served: float
    logistic: float
    peer: float
    alarms: tuple[str, ...]


def run(quick: bool, part: str | None = None) -> list[Table]:
    """UCI in time and shuffled, Berka cards and loans, the Starbucks experiment; or one of them."""
    repeats = REPEATS_QUICK if quick else REPEATS
    asked = [PARTS[part]] if part else PARTS.values()
    return [table for measure in asked if (table := measure(repeats)) is not None]


def _uci(repeats: int) -> Table | None:
    table, frame = Table("uci", "bank-full.csv without duration, AUC"), _read(UCI)
    if frame is None:
        return None
    print(f"tables: {table.setting}")
    cut = int(len(frame) * 0.8)
    later = _areas(frame[:cut], frame[cut:], "y", ["duration"], 1, "@row")
    table.add("chronological 80/20: served", later.served, "AUC", note=_at_least(later.served, later.peer, "peer"))
    table.add("chronological 80/20: logistic", later.logistic, "AUC")
    table.add("chronological 80/20: HistGradientBoosting", later.peer, "AUC")
    split = StratifiedKFold(5, shuffle=True, random_state=1).split(np.zeros(len(frame)), frame["y"].to_numpy())
    shuffled = [_areas(frame[a], frame[b], "y", ["duration"], 1) for a, b in list(split)[: min(5, repeats)]]
    served = _mean(shuffled, "served")
    table.add("the same rows shuffled, 5 folds: served", served, "AUC", note=_at_least(served, 0.80, "target"))
    table.add("the same rows shuffled, 5 folds: HistGradientBoosting", _mean(shuffled, "peer"), "AUC")
    table.add("what shuffling flatters", served - later.served, "AUC", note="served, shuffled less chronological")
    return table


def _berka(repeats: int) -> Table | None:
    table, frame = (
        Table("berka", f"1996 behaviour, 1997 take-up, splits 80/20 (cards {repeats}), mean AUC"),
        _read(BERKA),
    )
    if frame is None:
        return None
    print(f"tables: {table.setting}")
    orders = [name for name in frame.columns if name.startswith(("po_", "order_"))]
    for label, other in BERKA_LABELS:
        for drop, what in ((orders, "order columns dropped"), ([], "order columns kept")):
            if label == "dv_card_1997" and not drop:
                continue
            times = repeats if label == "dv_card_1997" else min(repeats, REPEATS_LOAN)
            found = [_areas(frame[a], frame[b], label, [*drop, other], seed)
                     for seed, (a, b) in enumerate(_splits(frame[label], times), 1)]  # fmt: skip
            name, served = f"{label[3:7]} 1997, {what}", _mean(found, "served")
            goal = _at_least(served, 0.845, "target") if label == "dv_card_1997" else ""
            ringing = sum(bool(each.alarms) for each in found)
            table.add(
                f"{name}: served", served, "AUC", note=f"{_spread(found)}; alarm in {ringing} of {len(found)}; {goal}"
            )
            table.add(f"{name}: logistic", _mean(found, "logistic"), "AUC")
            table.add(f"{name}: HistGradientBoosting", _mean(found, "peer"), "AUC")
    return table


def _starbucks(repeats: int) -> Table | None:
    table = Table("starbucks", f"net incremental revenue on Test.csv, cut-off at {COST / VALUE:g}, {repeats} seeds")
    fit, test = _read(STARBUCKS), _read(STARBUCKS_TEST)
    if fit is None or test is None:
        return None
    print(f"tables: {table.setting}")
    outcome = binary(test["purchase"], "label", guess=True).codes
    treated = binary(test["Promotion"], "treatment", guess=False).codes

    def revenue(score: np.ndarray, rows: np.ndarray | slice = slice(None)) -> float:
        targeted = (score > COST / VALUE).astype(np.float64)
        return net_gain(outcome[rows], treated[rows], targeted[rows], VALUE, COST, balanced=False)

    table.add("everyone treated", revenue(np.ones(len(test))), "USD")
    ours, peer, shares, areas, low, high = [], [], [], [], [], []
    rng = np.random.default_rng(1)
    for seed in range(1, repeats + 1):
        found = train_table(
            fit, "purchase", treatment="Promotion", id="ID", test=test, value=VALUE, cost=COST, seed=seed
        )
        score = found.predictions["score"].to_numpy()
        ours.append(revenue(score))
        shares.append(float(np.mean(score > COST / VALUE)))
        areas.append(found.report.metrics["qini_area"] or 0.0)
        peer.append(revenue(_peer_uplift(fit, test, seed)))
        drawn = [revenue(score, rng.integers(0, len(test), len(test))) for _ in range(200)]
        low.append(float(np.quantile(drawn, 0.025)))
        high.append(float(np.quantile(drawn, 0.975)))
    error = 1.96 * float(np.std(ours, ddof=1)) / np.sqrt(len(ours))
    said = f"over seeds +-{error:.0f}, {min(ours):.0f} to {max(ours):.0f}; {_at_least(float(np.mean(ours)), 330, 'target')}"
    table.add("served learner, mean", float(np.mean(ours)), "USD", note=said)
    table.add(
        "  interval from customers: low", float(np.mean(low)), "USD", note="95 %, 200 resamples of Test.csv a seed"
    )
    table.add("  interval from customers: high", float(np.mean(high)), "USD")
    table.add("  share contacted", float(np.mean(shares)), "")
    table.add("  Qini area over random per 1,000 treated", 1000 * float(np.mean(areas)), "purchases")
    table.add("two HistGradientBoosting, mean", float(np.mean(peer)), "USD", note=f"{min(peer):.0f} to {max(peer):.0f}")
    return table


def _areas(
    fit: pl.DataFrame, test: pl.DataFrame, label: str, drop: list[str], seed: int, time: str | None = None
) -> Areas:
    report = train_table(fit, label, drop=drop, test=test, time=time, seed=seed).report
    plan = plan_columns(fit, [label, *drop])
    places = categorical_places(plan.features)
    model = HistGradientBoostingClassifier(categorical_features=places or None, random_state=seed)
    model.fit(plan.matrix(fit, "fit"), binary(fit[label], "label", guess=True).codes)
    truth = binary(test[label], "label", guess=True).codes
    peer = float(roc_auc_score(truth, model.predict_proba(plan.matrix(test, "test"))[:, 1]))
    return Areas(report.metrics["auc"] or 0.0, report.candidates["logistic"]["auc"] or 0.0, peer,
                 tuple(alarm.kind for alarm in report.alarms))  # fmt: skip


def _peer_uplift(fit: pl.DataFrame, test: pl.DataFrame, seed: int) -> np.ndarray:
    columns = [f"V{number}" for number in range(1, 8)]
    rows, treated = fit.select(columns).to_numpy(), (fit["Promotion"] == "Yes").to_numpy()
    bought = fit["purchase"].to_numpy()
    p = [HistGradientBoostingClassifier(random_state=seed).fit(rows[treated == arm], bought[treated == arm])
         .predict_proba(test.select(columns).to_numpy())[:, 1] for arm in (False, True)]  # fmt: skip
    return p[1] - p[0]


def _splits(label: pl.Series, repeats: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    split = StratifiedShuffleSplit(repeats, test_size=0.2, random_state=1)
    return split.split(np.zeros(len(label)), label.to_numpy())


def _read(name: str) -> pl.DataFrame | None:
    path = DATA / name
    if not path.is_file():
        print(f"tables: no {path}; skipped (NBO_DATA names the folder of public data)")
        return None
    return read_table(path)


def _mean(found: list[Areas], name: str) -> float:
    return float(np.mean([getattr(each, name) for each in found]))


def _spread(found: list[Areas]) -> str:
    served = [each.served for each in found]
    return f"{min(served):.3f} to {max(served):.3f}"


def _at_least(value: float, target: float, what: str) -> str:
    return f"at least {what} {target:.4g}: {'met' if value >= target else f'MISSED by {target - value:.4g}'}"


PARTS: dict[str, Callable[[int], Table | None]] = {"uci": _uci, "berka": _berka, "starbucks": _starbucks}
