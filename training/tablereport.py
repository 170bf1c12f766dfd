"""What `nbo train table` says: one JSON object, or lines for people."""

from pydantic import BaseModel

from training.evaluate import Metrics
from training.leaks import Alarm

SEED = 20260601


class UpliftReport(BaseModel):
    """What a contact changes, on the test part.

    learner: the one served, chosen on held-out rows of the fitting part. randomised: the columns
    do not tell who was contacted; treatment_auc: how well they do. slope: of the pseudo-outcome on
    the learner's score, held in [0, 1] to shrink it; slope_low and _high: its 95 % interval before.
    cut_off: a customer is worth a contact above it. best_share: share of the test rows above the
    cut-off where value and cost are given, else the share up to which contacts added outcomes on
    held-out rows of the fitting part. gain_at_best_share: outcomes added there on the test part, per
    treated row of it. net_gain: value x outcomes added - cost x contacts among the treated test rows above the
    cut-off; net_gain_everyone: the same of all. p_organic_mean: mean chance without a contact. Shares, gains and the
    figures of the effect are null where the arms cannot be compared (alarm `support`).
    """

    learner: str
    randomised: bool
    treatment_auc: float
    slope: float
    slope_low: float
    slope_high: float
    cut_off: float | None = None
    best_share: float | None
    gain_at_best_share: float | None
    net_gain: float | None = None
    net_gain_low: float | None = None
    net_gain_high: float | None = None
    net_gain_everyone: float | None = None
    p_organic_mean: float


class TableReport(BaseModel):
    """`nbo train table`: what was learned from which rows, and how good it is on rows never seen.

    positive: the label's value that counts as 1; treated: the treatment's that means contacted. split: time, group, random, or file (a test table).
    served: the candidate, or with a treatment the uplift learner, that was best on held-out rows of
    the fitting part; validation: what each reached there (AUC within folds, Qini area).
    metrics: of the served one on the test part, each with `_low` and `_high` (95 %, 200 resamples of
    rows or groups); with a treatment auc and its kin are of the outcome as treated. candidates: AUC
    of each rival on the test part. alarms: empty, or why the figures are too good.
    """

    label: str
    positive: str
    treatment: str | None
    treated: str | None = None
    split: str
    rows: int
    positives: int
    test_rows: int
    test_positives: int
    served: str
    validation: dict[str, Metrics] = {}
    metrics: Metrics = {}
    candidates: dict[str, Metrics] = {}
    uplift: UpliftReport | None = None
    alarms: list[Alarm]
    notes: list[str]
    features: list[str]
    dropped: dict[str, str]
    predictions: str | None = None
    seed: int
    trials: int
    seconds: float


def lines(report: TableReport) -> list[str]:
    """The report for people, alarms first."""
    said = [f"ALARM {alarm.message}" for alarm in report.alarms]
    said.append(f"{report.served} serves `{report.label}` = {report.positive}: {report.rows} rows to fit,"
                f" {report.positives} positive; {report.test_rows} to test ({report.split}), {report.test_positives} positive")  # fmt: skip
    if report.treatment is not None:
        said.append(f"  contacted: `{report.treatment}` = {report.treated}")
    for name, found in report.validation.items():
        shown = ", ".join(f"{key} {value:.4f}" for key, value in found.items() if value is not None)
        on_test = (report.candidates.get(name) or {}).get("auc")
        said.append(f"  {name:<12}held out: {shown}" + (f"; test: auc {on_test:.4f}" if on_test is not None else ""))
    for name, value in report.metrics.items():
        if not name.endswith(("_low", "_high")) and value is not None:
            low, high = report.metrics.get(f"{name}_low"), report.metrics.get(f"{name}_high")
            between = f"  ({low:.4f} to {high:.4f})" if low is not None and high is not None else ""
            said.append(f"  {name:<18}{value:>9.4f}{between}")
    if report.uplift is not None:
        if report.uplift.best_share is not None:
            said.append(f"  best share to contact: {report.uplift.best_share:.1%}")
        if report.uplift.net_gain is not None:
            said.append(f"  net gain there {report.uplift.net_gain:,.2f}"
                        f" ({report.uplift.net_gain_low:,.2f} to {report.uplift.net_gain_high:,.2f});"
                        f" everyone {report.uplift.net_gain_everyone:,.2f}")  # fmt: skip
    said += [f"  {note}" for note in report.notes]
    return said + ([f"predictions: {report.predictions}"] if report.predictions else [])


def rounded_metrics(found: Metrics) -> Metrics:
    """The figures with six decimals, None left as it is."""
    return {name: None if value is None else round(value, 6) for name, value in found.items()}
