"""What contacts change at this bank: the learners of training/uplift.py on the bank's own experiment.

    contacts and holdout -> earlier rows | later rows      T and doubly robust learners on the earlier ones,
                                `- measured once: Qini area over random, average effect, the best share

What decisions are made with is the control arm alone, the model `organic`: the engine takes its p_organic
from what a contact brings. The learners say whether customers differ in that at all, and whom to leave
in peace; `foretold` is their score of everybody as of the cut.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import polars as pl

from training.dataset import Dataset
from training.encode import encode
from training.evaluate import Metrics
from training.experiment import experiment, in_time
from training.history import catalogue_offers, read_history
from training.labels import who_may_be_learned_from
from training.study import Study
from training.tableuplift import faint, report_uplift
from training.tune import Progress
from training.uplift import UpliftFit, UpliftModel, fit_uplift


@dataclass(frozen=True)
class BankUplift:
    """The learners on one bank. metrics: on the later rows, each with its interval; curve: for a Qini plot.

    foretold: customer_id, offer_id, p_organic and score, the uplift, of each customer who may be learned
    from and each offer whose product he does not hold; null where there is no feature snapshot.
    """

    metrics: Metrics
    curve: pd.DataFrame
    notes: tuple[str, ...]
    foretold: pl.DataFrame | None


def learn_uplift(study: Study, seed: int, trials: int, progress: Progress) -> BankUplift | None:
    """Learn what contacts change; None: nobody was drawn never to be contacted.

    Raises:
        DatasetError: Too few outcomes in an arm, or all contacts of one day.
    """
    found = experiment(study, seed)
    if found is None:
        return None
    data, treated, label_end = found
    fit, test, folds = in_time(data, data.label * 2 + treated, label_end, seed)
    earlier, later = _at(data, fit), _at(data, test)
    learned = fit_uplift(earlier, treated[fit], folds, seed, trials=trials, progress=progress)
    units = np.unique(later.owners, return_inverse=True)[1]
    measured = report_uplift(learned, later, treated[test], units, None, None, seed)
    told = measured.report.model_dump(include={"slope", "slope_low", "slope_high", "best_share", "gain_at_best_share",
                                               "p_organic_mean", "treatment_auc"})  # fmt: skip
    metrics: Metrics = measured.metrics | {f"uplift_{name}": value for name, value in told.items()}
    metrics |= {f"{name}_qini_area": round(area, 6) for name, area in learned.areas.items()}
    held = np.unique(data.owners[treated == 0])
    metrics |= {"contacts": float(treated.sum()), "held_out_rows": float((1 - treated).sum()),
                "held_out_units": float(len(held))}  # fmt: skip
    return BankUplift(
        metrics,
        measured.curve,
        (
            _words(learned, len(held)),
            *([apart] if (apart := learned.assignment.apart) else []),
            *faint(measured.metrics),
        ),
        _foretold(study, data, learned.model),
    )


def _at(data: Dataset, places: np.ndarray) -> Dataset:
    keep = np.zeros(len(data.label), np.bool_)
    keep[places] = True
    return data.rows(keep)


def _words(learned: UpliftFit, units: int) -> str:
    drawn, area = learned.assignment.randomised, learned.assignment.auc
    how = "cannot be told from the columns" if drawn else "is weighed for, as far as the columns tell it"
    return (
        f"uplift by `{learned.model.learner}`: contacts beside {units} units held out by lot; who was contacted {how}"
        f" (AUC {area:.3f})"
    )


def _foretold(study: Study, data: Dataset, model: UpliftModel) -> pl.DataFrame | None:
    snapshot = study.store.newest(study.cut)
    if snapshot is None:
        return None
    ids = pl.Series("customer_id", snapshot.table.column("customer_id").to_pylist(), dtype=pl.String)
    people = who_may_be_learned_from(
        ids.to_frame().with_columns(pl.lit(study.cut).cast(pl.Datetime("us", "UTC")).alias("as_of")).with_row_index("row"),
        study.customers)  # fmt: skip
    matrix = encode(snapshot.table, data.features[:-1])
    held = _held(study)
    parts: list[pl.DataFrame] = []
    for code, offer in enumerate(data.features[-1].domain):
        mine = people.join(held.filter(pl.col("offer_id") == offer), on="customer_id", how="anti")
        rows = matrix[mine["row"].to_numpy()]
        wide = np.column_stack([rows, np.full(len(rows), float(code))])
        parts.append(mine.select("customer_id", pl.lit(offer).alias("offer_id"), p_organic=model.p_organic(wide),
                                 score=model.uplift(wide)))  # fmt: skip
    return pl.concat(parts).sort("customer_id", "offer_id")


def _held(study: Study) -> pl.DataFrame:
    """(customer_id, offer_id) of offers whose product is held at the cut."""
    products = catalogue_offers(study.home, "product")
    named = pl.DataFrame({"offer_id": list(products), "product": list(products.values())},
                         schema={"offer_id": pl.String, "product": pl.String})  # fmt: skip
    day = study.cut.date()
    open_ = read_history(study.home, "accounts").filter(
        pl.col("opened_on") <= day, pl.col("closed_on").is_null() | (pl.col("closed_on") > day))  # fmt: skip
    holders = read_history(study.home, "holders").filter(pl.col("role") != "authorised")
    return holders.join(open_, on="account_id").join(named, on="product").select("customer_id", "offer_id").unique()
