"""One trainer per model of a bank: from the study's rows to what is to be registered.

interest   P(accepts | reached, offer)          one model an offer where it has 100 positives and ranks
                                                its later rows better than the pooled one, which has the
                                                offer as a category
reach      P(reached | contacted on channel)    one shared channel response model
harm       P(complaint or opt-out | contacted)  likewise
churn      P(leaves within 60 days: accounts closed, or money and doings gone), or lapses within 42
           days where there are no accounts
organic    P(takes the offer's product within 30 days unasked), of customers drawn never to be contacted
value      the formula of training/value.py with the bank's own churn, and everybody's tier by it

A bank without contacts learns `interest` from its holdings: who takes the product within 30 days.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from training.alarms import fairness, future_feature, segment_alarm
from training.bundle import POOLED, Part, PartNote
from training.dataset import Dataset, Slice
from training.encode import Feature, Matrix, encode, model_features
from training.errors import DatasetError
from training.evaluate import Metrics, auc
from training.figures import figures, scores_of
from training.labels import who_may_be_learned_from
from training.learn import Learned, learn_part
from training.scorer import ConstantModel, ConstantScorer
from training.study import Study
from training.tiers import tier_table, write_tiers
from training.tune import Parameters, Progress, search
from training.value import VALUE_FEATURES, ValueFormula, ValueModel, annual_rate, churn_interval, forecast_interval

SEED = 20260601
_OWN_MODEL_POSITIVES = 100  # positives an offer needs for a model of its own
_GOLDEN_ROWS = 16
_FORETOLD_MOST, _YEAR = 4_000, timedelta(days=365)
ALL_REACHED = "no channel outcomes: every contact counts as reached (p_reach = 1)"
NO_HARM = "no complaints or opt-outs on record: harm of a contact counts as 0"
FROM_HOLDINGS = ("no contacts on record: interest is how often the product is taken within 30 days;"
                 " what a contact adds to that is unknown")  # fmt: skip
REFITTED = (
    "served models are fitted once more on all ripe rows; the figures are of the model fitted on the earlier ones"
)
NO_FORECAST = "less than a year of history: the interval of lifetime values is that of the churn alone"


@dataclass(frozen=True)
class Pictured:
    """What a run's pictures are drawn from: rows never learned from, their scores, and what scored them."""

    data: Dataset
    p: Matrix
    pooled: Learned


@dataclass(frozen=True)
class Draft:
    """What a trainer hands over to be registered. alarms: lines for which the gate keeps it out."""

    features: tuple[Feature, ...]
    parts: dict[str, Part]
    notes: dict[str, PartNote]
    metrics: Metrics
    golden: Matrix
    dataset: str
    rows: int
    later: Metrics = field(default_factory=dict[str, float | None])
    context: Feature | None = None
    parameters: Parameters = field(default_factory=dict[str, float | int | str | bool])
    assumptions: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    pictured: Pictured | None = None
    newer: Pictured | None = None  # rows decided after the cut, as the served models score them
    seen: Dataset | None = None  # all rows ripe at the cut
    said: tuple[str, ...] = ()  # notes on the run, beside those on the parts
    qini: pd.DataFrame | None = None  # share, gain, random: for a picture of the uplift


def interest(study: Study, trials: int, progress: Progress) -> Draft:
    """Who wants which offer; from contacts, or from holdings where there are none."""
    said = (FROM_HOLDINGS,) if study.no_contacts else ()
    return _by_offer(study, study.interest(), study.interest, trials, progress, said)


def organic(study: Study, trials: int, progress: Progress) -> Draft | None:
    """Who takes an offer's product unasked; None: nobody was drawn never to be contacted, or none took any."""
    seen = study.organic()
    return None if seen is None else _by_offer(study, seen, study.organic, trials, progress, ())


def reach(study: Study, trials: int, progress: Progress) -> Draft:
    """Whom a contact reaches, by channel."""
    if study.no_contacts:
        return _declared(study, 1.0, ALL_REACHED)
    return _by_channel(study, study.reach, trials, progress, ALL_REACHED if study.reach_unknown else None)


def harm(study: Study, trials: int, progress: Progress) -> Draft:
    """Whom a contact makes complain or opt out, by channel."""
    if study.no_contacts:
        return _declared(study, 0.0, NO_HARM)
    return _by_channel(study, study.harm, trials, progress, NO_HARM if study.harm_unknown else None)


def churn(study: Study, trials: int, progress: Progress) -> Draft:
    """Who leaves."""
    seen = study.churn()
    settings = search(seen, trials, SEED, progress, _journal(study))
    learned = learn_part(seen, settings, SEED, refit=True)
    return _draft(seen, learned, {}, None, settings, _later(study.churn), study.churn_words, "churn")


def value(study: Study, trials: int, progress: Progress) -> Draft:
    """What customers are worth, and their tiers, which are written beside the models."""
    progress("valuing customers", 0, 1)
    rate, days = study.churn_rate()
    seen = study.churned_by_owner()
    low, high = churn_interval(seen["left"].to_numpy(), seen["months"].to_numpy(), days, SEED)
    features = tuple(f for f in model_features(study.store.schema) if f.name in VALUE_FEATURES)
    names = tuple(f.name for f in features)
    missed = _missed(study, features)
    model = ValueModel(
        annual_churn=round(annual_rate(rate, days), 6), annual_churn_low=round(low, 6), annual_churn_high=round(high, 6),
        forecast_low=None if missed is None else round(missed[0], 6),
        forecast_high=None if missed is None else round(missed[1], 6),
    )  # fmt: skip
    part = ValueFormula(names, model)
    note = PartNote(served="formula", features=names, note="contribution x expected years")
    golden = np.arange(_GOLDEN_ROWS * len(features), dtype=np.float64).reshape(_GOLDEN_ROWS, -1) * 1e4
    sha, found, n = _tiers(study, part, features)
    years = model.years_interval
    found |= {"annual_churn": model.annual_churn, "annual_churn_low": model.annual_churn_low,
              "annual_churn_high": model.annual_churn_high, "forecast_low": model.forecast_low,
              "forecast_high": model.forecast_high, "expected_years": round(model.expected_years, 6),
              "expected_years_low": round(years[0], 6), "expected_years_high": round(years[1], 6)}  # fmt: skip
    words = (f"customer value: margin {model.interest_margin:g} of balances, {model.interchange:g} of purchases,"
             f" {model.expected_years:.1f} discounted years ({years[0]:.1f} to {years[1]:.1f})")  # fmt: skip
    said = (words,) if missed else (words, NO_FORECAST)
    return Draft(features, {"value": part}, {"value": note}, found, golden, sha, n, assumptions=said)


def _by_offer(study: Study, seen: Dataset, later: Callable[..., Dataset | None], trials: int, progress: Progress,
              said: tuple[str, ...]) -> Draft:  # fmt: skip
    context = Feature(name="offer", kind="enum", domain=tuple(sorted(set(seen.items.tolist()) - {""})))
    data = seen.with_item(context)
    settings = search(data, trials, SEED, progress, _journal(study))
    pooled = learn_part(data, settings, SEED, refit=True)
    own: dict[str, Learned] = {}
    for offer in context.domain:
        mine = seen.rows(seen.items == offer)
        if mine.slice(Slice.TRAIN).label.sum() >= _OWN_MODEL_POSITIVES and len(context.domain) > 1:
            learned = learn_part(mine, settings, SEED, refit=True)
            if _better(learned, pooled, mine, context):
                own[offer] = learned
    return _draft(seen, pooled, own, context, settings, _later(later), said)


def _better(own: Learned, pooled: Learned, mine: Dataset, context: Feature) -> bool:
    """Whether the offer's own model ranks its validation rows better than the pooled one."""
    trial = mine.slice(Slice.TUNE, Slice.CALIBRATE)
    areas = [auc(trial.label, p, trial.weight) for p in
             (own.measured.predict(trial.matrix), pooled.measured.predict(trial.with_item(context).matrix))]  # fmt: skip
    return (areas[0] or 0.0) > (areas[1] or 0.0)


def _by_channel(study: Study, dataset: Callable[..., Dataset], trials: int, progress: Progress,
                assumption: str | None) -> Draft:  # fmt: skip
    seen = dataset()
    context = Feature(name="channel", kind="enum", domain=tuple(sorted(set(seen.items.tolist()) - {""})))
    data = seen.with_item(context)
    settings = search(data, 0 if assumption else trials, SEED, progress, _journal(study))
    pooled = learn_part(data, settings, SEED, refit=True)
    later = None if assumption else _later(dataset)
    said = (assumption,) if assumption else ()
    return _draft(seen, pooled, {}, context, settings, later, said)


def _draft(seen: Dataset, pooled: Learned, own: dict[str, Learned], context: Feature | None,
           settings: Parameters, later: Dataset | None, said: tuple[str, ...] = (), name: str = POOLED) -> Draft:  # fmt: skip
    parts, test = {name: pooled, **own}, seen.slice(Slice.TEST)
    p = scores_of(test, pooled, own, context)
    fair, unfair = fairness(test, p)
    alarms = (future_feature(seen.slice(Slice.TRAIN)), segment_alarm(test, p), unfair)
    refitted = () if said and pooled.served == "constant" else (REFITTED,)
    newer = (
        None
        if later is None
        else Pictured(_wide(later, context), scores_of(later, pooled, own, context, served=True), pooled)
    )
    return Draft(
        features=seen.features, parts={key: part.scorer for key, part in parts.items()},
        notes={key: part.note for key, part in parts.items()}, context=context, parameters=settings,
        metrics=figures(test, pooled, own, context, SEED) | fair, golden=_golden(seen),
        later={} if later is None else figures(later, pooled, own, context, SEED, served=True),
        dataset=seen.snapshot, rows=len(seen.label), assumptions=(*said, *refitted),
        alarms=tuple(line for line in alarms if line), pictured=Pictured(_wide(test, context), p, pooled), newer=newer,
        seen=seen,
    )  # fmt: skip


def _wide(data: Dataset, context: Feature | None) -> Dataset:
    return data if context is None else data.with_item(context)


def _declared(study: Study, p: float, assumption: str) -> Draft:
    """The same for everybody, because the source says nothing about it."""
    features = model_features(study.store.schema)
    scorer = ConstantScorer(tuple(f.name for f in features), ConstantModel(p=p, why=assumption))
    note = PartNote(served="constant", features=scorer.features, note=assumption)
    golden = np.zeros((1, len(features)))
    return Draft(features, {POOLED: scorer}, {POOLED: note}, {}, golden, "", 0, assumptions=(assumption,))


def _missed(study: Study, features: tuple[Feature, ...]) -> tuple[float, float] | None:
    """By how much contributions foretold a year before the cut were missed; None: less than a year to look back."""
    before = study.cut - _YEAR
    if before < study.first_usable():
        return None
    who = study.some_customers(_FORETOLD_MOST)
    formula = ValueFormula(tuple(f.name for f in features), ValueModel())
    then, now = (formula.contribution(encode(_looked_up(study, who, at), features)) for at in (before, study.cut))
    return forecast_interval(then, now)


def _looked_up(study: Study, who: pl.Series, at: object) -> pa.Table:
    asked = pa.table({"customer_id": pa.array(who.to_list(), pa.string()),
                      "as_of": pa.array([at] * len(who), pa.timestamp("us", "UTC"))})  # fmt: skip
    return study.store.as_of(asked)


def _tiers(study: Study, part: ValueFormula, features: tuple[Feature, ...]) -> tuple[str, Metrics, int]:
    """Write everybody's tier as of the cut: its hash, the sums that may be shown, and how many have one."""
    snapshot = study.store.newest(study.cut)
    if snapshot is not None and snapshot.as_of == study.cut:
        table = snapshot.table
    else:
        table = _looked_up(study, study.some_customers(None), study.cut)
    contribution = part.contribution(encode(table, features))
    names = [n for n in ("customer_id", "kind", "age_years", "salary_sum_90d") if n in table.column_names]
    people: pl.DataFrame = pl.DataFrame(table.select(names)).with_columns(
        pl.lit(study.cut).cast(pl.Datetime("us", "UTC")).alias("as_of")).with_row_index("row")  # fmt: skip
    allowed = who_may_be_learned_from(people, study.customers)
    places = allowed["row"].to_numpy()
    rows = tier_table(
        allowed.drop("row", "as_of"), contribution[places], part.model, study.cut, study.home.settings.currency
    )
    known = rows.drop_nulls("tier")
    found: Metrics = {f"tier_{row['tier']}_from_minor": float(row["contribution_minor"]) for row in
                      known.group_by("tier").agg(pl.col("contribution_minor").min()).sort("tier").to_dicts()}  # fmt: skip
    return write_tiers(study.home.models, rows), found, len(known)


def _later(dataset: Callable[..., Dataset | None]) -> Dataset | None:
    try:
        return dataset(later=True)
    except DatasetError:  # the cut is the home's present, or nothing later is ripe yet
        return None


def _golden(data: Dataset) -> Matrix:
    """Rows of nobody: each column shuffled on its own, so no customer leaves with the model."""
    rng = np.random.default_rng(SEED)
    rows = data.matrix[: max(_GOLDEN_ROWS, min(len(data.matrix), 500))]
    return np.column_stack([rng.permutation(rows[:, j])[:_GOLDEN_ROWS] for j in range(rows.shape[1])])


def _journal(study: Study) -> Path:
    return study.home.models / "search"
