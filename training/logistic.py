"""The baselines that stand beside every LightGBM model, and are served where they are better.

`logistic` reads all features; `recency_frequency` only how lately and how often the customer
bought - the yardstick of direct marketing. Both become JSON coefficients.
Source: Bult and Wansbeek, Optimal selection for direct mail, Marketing Science 14 (1995).
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from training.encode import Feature, Matrix
from training.scorer import LogisticModel, LogisticTerm

RECENCY_FREQUENCY = (
    "days_since_last_transaction", "days_since_last_purchase",
    "transaction_count_30d", "transaction_count_90d",
    "purchase_count_30d", "purchase_count_90d", "purchase_count_365d",
)  # fmt: skip
_SKEWED = 20.0  # largest value beyond so many standard deviations: money and counts, use the log
_STEPS = 300
_EXACT = 10  # significant digits kept: the last ones differ between processors


def fit_logistic(
    features: Sequence[Feature],
    matrix: Matrix,
    label: Matrix,
    only: Sequence[str] | None = None,
    strength: float = 0.05,
    weight: Matrix | None = None,
    signs: Mapping[str, int] | None = None,
) -> LogisticModel:
    """Ridge logistic regression on standardised features.

    Args:
        only: Names to learn from; None for all. Constant and all-null columns are left out.
        strength: scikit-learn's C, the inverse of the penalty.
        weight: Rows each row stands for, (n,).
        signs: Feature -> +1 or -1. A feature whose weight comes out against its sign is left out and
            the rest fitted again, until none is.
    """
    names = [f.name for f in features if only is None or f.name in only]
    while True:
        model = _fitted(features, matrix, label, names, strength, weight)
        wrong = {
            t.feature for t in model.terms if t.kind == "number" and t.weights[0] * (signs or {}).get(t.feature, 0) < 0
        }
        if not wrong:
            return model
        names = [name for name in names if name not in wrong]


def _fitted(features: Sequence[Feature], matrix: Matrix, label: Matrix, only: Sequence[str], strength: float,
            weight: Matrix | None) -> LogisticModel:  # fmt: skip
    terms: list[LogisticTerm] = []
    columns: list[Matrix] = []
    for place, feature in enumerate(features):
        if feature.name in only:
            term = _shape(feature, matrix[:, place])
            if term is not None:
                terms.append(term)
                columns.append(_columns(term, matrix[:, place]))
    if not terms:
        return LogisticModel(intercept=_log_odds(label, weight), terms=())
    fitted = LogisticRegression(C=strength, max_iter=_STEPS, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # good enough for a baseline
        fitted.fit(np.hstack(columns), label, sample_weight=weight)
    weights, place = [_exact(w) for w in fitted.coef_[0]], 0
    for number, block in enumerate(columns):
        mine = tuple(weights[place : place + block.shape[1]])
        terms[number] = terms[number].model_copy(update={"weights": mine})
        place += block.shape[1]
    return LogisticModel(intercept=_exact(fitted.intercept_[0]), terms=tuple(terms))


def _shape(feature: Feature, x: Matrix) -> LogisticTerm | None:
    if feature.kind == "enum":
        return LogisticTerm(feature=feature.name, kind="codes", weights=(0.0,) * len(feature.domain))
    known = x[~np.isnan(x)]
    if len(known) == 0 or known.min() == known.max():
        return None
    skewed = np.abs(known).max() > _SKEWED * known.std() or np.abs(known).max() > 1000
    draft = LogisticTerm(feature=feature.name, kind="number", log=bool(skewed), weights=(1.0,))
    shaped = draft.shape(known)
    return draft.model_copy(update={"mean": _exact(shaped.mean()), "scale": _exact(shaped.std() or 1.0)})


def _columns(term: LogisticTerm, x: Matrix) -> Matrix:
    if term.kind == "number":
        return term.share(x).reshape(-1, 1)  # its weight is still 1
    return (x[:, None] == np.arange(len(term.weights))[None, :]).astype(np.float64)


def _log_odds(label: Matrix, weight: Matrix | None) -> float:
    w = np.ones(len(label)) if weight is None else weight
    rate = ((label * w).sum() + 0.5) / (w.sum() + 1.0)
    return _exact(np.log(rate / (1 - rate)))


def _exact(value: float) -> float:
    return float(f"{float(value):.{_EXACT}g}")
