"""`nbo train`: learn what may go live, and register it; `nbo models` stands in training/model_commands.py.

The command's home stands in `ctx.obj`. With --json exactly one object goes to stdout and people's
text to stderr; errors are one-line ValueErrors, which the front door prints.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from features.home import Home
from features.store import FeatureStore
from features.terminal import AsJson
from training.errors import DatasetError, GateError, TrainingError
from training.model_commands import models_app, say
from training.promotion import promote
from training.score import ALL_NAMES, FROM_HOLDOUT, NO_HOLDOUT
from training.table_commands import train_table_command
from training.tablefile import write_table

if TYPE_CHECKING:
    from training.train import TrainedModel

__all__ = ["ModelReport", "TrainAnswer", "models_app", "parse_instant", "train_app"]

train_app = typer.Typer(name="train", no_args_is_help=True, help="Learn models and register them.")
train_app.command("table")(train_table_command)

AsOf = Annotated[str | None, typer.Option(help="Learn nothing later than this day or instant.")]
Trials = Annotated[int, typer.Option(min=0, max=1000, help="Settings to try per model; 0: defaults.")]
Predictions = Annotated[Path | None, typer.Option(
    help="Write customer_id, offer_id, p_organic and score (the uplift) here, Parquet or CSV.")]  # fmt: skip
Promote = Annotated[bool, typer.Option("--promote", help="Make live what passes the gate.")]
_PROPENSITY = ("reach", "harm", "interest", "organic")


class ModelReport(BaseModel):
    """One registered version.

    metrics: on the latest slice before the cut, never learned from. later: on rows decided after
    the cut and ripe at the home's present; empty where there are none. `auc` and its kin are of
    what is served; names beginning logistic_, recency_frequency_ or lightgbm_ are of the rivals in
    the same run; `within_group_auc` is within campaigns. live: made live by this run; gate: why,
    or the line that failed; null where --promote was not given.
    """

    name: str
    version: str
    sha256: str
    served: dict[str, str]
    rows: int
    seconds: float
    metrics: dict[str, float | None]
    later: dict[str, float | None]
    notes: list[str]
    live: bool = False
    gate: str | None = None


class TrainAnswer(BaseModel):
    """`nbo train`: the cut and every model trained; assumptions are the home's and the models'."""

    as_of: datetime
    models: list[ModelReport]
    assumptions: list[str]


@train_app.command("propensity")
def train_propensity(context: typer.Context, as_of: AsOf = None, trials: Trials = 0,
                     promote: Promote = False, json: AsJson = False) -> None:  # fmt: skip
    """Interest per offer, reach and harm per channel, and what is taken unasked where a holdout shows it."""
    _train(context, _PROPENSITY, as_of, trials, promote, json)


@train_app.command("churn")
def train_churn(context: typer.Context, as_of: AsOf = None, trials: Trials = 0,
                promote: Promote = False, json: AsJson = False) -> None:  # fmt: skip
    """Who leaves, or lapses where the source has no accounts."""
    _train(context, ("churn",), as_of, trials, promote, json)


@train_app.command("value")
def train_value(context: typer.Context, as_of: AsOf = None, trials: Trials = 0,
                promote: Promote = False, json: AsJson = False) -> None:  # fmt: skip
    """What a customer is worth: the formula with the bank's own churn."""
    _train(context, ("value",), as_of, trials, promote, json)


@train_app.command("uplift")
def train_uplift(context: typer.Context, as_of: AsOf = None, trials: Trials = 0, promote: Promote = False,
                 predictions: Predictions = None, json: AsJson = False) -> None:  # fmt: skip
    """What customers do unasked, from those held out by lot, and what contacts change; says so where nobody was."""
    if predictions is not None and not predictions.parent.is_dir():
        raise DatasetError(f"no folder `{predictions.parent}`; name a file in a folder that exists")
    _train(context, ("organic",), as_of, trials, promote, json, uplift=True, predictions=predictions)


@train_app.command("all")
def train_everything(context: typer.Context, as_of: AsOf = None, trials: Trials = 0,
                     promote: Promote = False, json: AsJson = False) -> None:  # fmt: skip
    """All models."""
    _train(context, ALL_NAMES, as_of, trials, promote, json)


def parse_instant(text: str, home: Home) -> datetime:
    """A day (its first instant in the bank's zone) or an ISO instant; TrainingError else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise TrainingError(f"--as-of `{text}` is no day or instant; write 2026-06-01") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=home.settings.tz)).astimezone(UTC)


def _train(context: typer.Context, names: Sequence[str], as_of: str | None, trials: int, live: bool,
           json: bool, *, uplift: bool = False, predictions: Path | None = None) -> None:  # fmt: skip
    from training.train import train_all  # the other commands have no use for what it imports

    home = Home.open(context.obj)
    cut = parse_instant(as_of, home) if as_of else home.now()
    if predictions is not None and FeatureStore(home).newest(cut) is None:  # before hours of learning
        raise DatasetError(
            f"no snapshot as of {cut:%FT%TZ} or before says whom to score; run nbo features build --as-of {cut:%FT%TZ}"
        )
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        tasks = {"": bars.add_task("opening the registry", total=None)}

        def show(what: str, done: int, total: int) -> None:
            bars.update(tasks[""], description=what, completed=done, total=total)

        trained = train_all(home, cut, trials, show, names, uplift=uplift)
        reports = [_report(home, model, live) for model in trained]
    said = [line for model in trained for line in model.assumptions]
    unasked = FROM_HOLDOUT if any(model.name == "organic" for model in trained) else NO_HOLDOUT
    about = [] if set(names) <= {"churn", "value"} else [unasked]
    told = list(dict.fromkeys([*home.assumptions(), *about, *said]))
    if predictions is not None:
        _write(trained, predictions)
    answer = TrainAnswer(as_of=cut, models=reports, assumptions=told)
    say(answer, json, [line for report in reports for line in _lines(report)] or about)


def _write(trained: "Sequence[TrainedModel]", path: Path) -> None:
    """The uplift of everybody; refused, with the reason, where none was learned."""
    foretold = next((model.foretold for model in trained if model.foretold is not None), None)
    if foretold is None:
        notes = [note for model in trained for note in model.notes] or [NO_HOLDOUT]
        raise DatasetError(f"no uplift to write: {notes[0]}")
    write_table(foretold, path)


def _report(home: Home, model: "TrainedModel", live: bool) -> ModelReport:
    report = ModelReport(
        name=model.name,
        version=model.version,
        sha256=model.sha256,
        served=model.served,
        rows=model.rows,
        seconds=model.seconds,
        metrics=model.metrics,
        later=model.later,
        notes=[*model.notes, *model.assumptions, *(f"alarm: {line}" for line in model.alarms)],
    )
    if not live:
        return report
    try:
        promoted = promote(home, model.name, model.version)
    except GateError as error:
        return report.model_copy(update={"gate": str(error)})
    return report.model_copy(update={"live": True, "gate": promoted.gate})


def _lines(report: ModelReport) -> list[str]:
    served = ", ".join(sorted(set(report.served.values())))
    lines = [f"{report.name} {report.version}: {served}, {report.rows} rows, {report.seconds:.1f} s"]
    for when, figures in (("latest slice", report.metrics), ("after the cut", report.later)):
        shown = [f"{key} {value:.4f}" for key, value in figures.items() if key in _SHOWN and value is not None]
        lines += [f"  {when}: {', '.join(shown)}"] if shown else []
    lines += [f"  {note}" for note in report.notes]
    return [*lines, f"  gate: {report.gate}"] if report.gate else lines


_SHOWN = (
    "auc",
    "auc_low",
    "auc_high",
    "within_group_auc",
    "logistic_auc",
    "logistic_within_group_auc",
    "recency_frequency_auc",
    "recency_frequency_within_group_auc",
    "lift_10",
    "ece",
    "log_loss",
    "qini_area",
    "qini_area_low",
    "qini_area_high",
    "average_effect",
)
