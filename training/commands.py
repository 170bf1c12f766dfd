"""`nbo train` and `nbo models`: learn, look, make live, go back.

The command's home stands in `ctx.obj`. With --json exactly one object goes to stdout and people's
text to stderr; errors are one-line ValueErrors, which the front door prints.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from features.home import Home
from training.bundle import verify_bundle
from training.errors import GateError, TrainingError
from training.promotion import gate, promote, rollback
from training.registry import Registry
from training.score import ALL_NAMES, FROM_HOLDOUT, NAMES, NO_HOLDOUT, read_live
from training.tiers import Tiers
from training.train import TrainedModel, train_all

train_app = typer.Typer(name="train", no_args_is_help=True, help="Learn models and register them.")
models_app = typer.Typer(name="models", no_args_is_help=True, help="See models, make one live, go back.")

AsOf = Annotated[str | None, typer.Option(help="Learn nothing later than this day or instant.")]
Trials = Annotated[int, typer.Option(min=0, max=1000, help="Settings to try per model; 0: defaults.")]
Promote = Annotated[bool, typer.Option("--promote", help="Make live what passes the gate.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
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


class VersionReport(BaseModel):
    """One version in the registry; live: serving uses it."""

    name: str
    version: str
    sha256: str
    trained_as_of: str
    live: bool


class ModelsAnswer(BaseModel):
    """`nbo models list`: all versions, and live.json as it stands (name -> sha256)."""

    versions: list[VersionReport]
    live: dict[str, str]
    missing: list[str]


class LiveAnswer(BaseModel):
    """`nbo models promote` and `rollback`: what is live now under the name, and why it may be."""

    name: str
    version: str
    sha256: str
    gate: str


class TierAnswer(BaseModel):
    """`nbo models tier`: one customer's row of training/tiers.py, money in minor units of base currency."""

    tier: str | None
    potential: str | None
    contribution_minor: int | None
    peers_minor: int | None
    lifetime_value_minor: int | None
    lifetime_low_minor: int | None
    lifetime_high_minor: int | None
    as_of: datetime
    why: str


@train_app.command("propensity")
def train_propensity(context: typer.Context, as_of: AsOf = None, trials: Trials = 0,
                     promote: Promote = False, json: Json = False) -> None:  # fmt: skip
    """Interest per offer, reach and harm per channel, and what is taken unasked where a holdout shows it."""
    _train(context, _PROPENSITY, as_of, trials, promote, json)


@train_app.command("churn")
def train_churn(context: typer.Context, as_of: AsOf = None, trials: Trials = 0,
                promote: Promote = False, json: Json = False) -> None:  # fmt: skip
    """Who leaves, or lapses where the source has no accounts."""
    _train(context, ("churn",), as_of, trials, promote, json)


@train_app.command("value")
def train_value(context: typer.Context, as_of: AsOf = None, trials: Trials = 0,
                promote: Promote = False, json: Json = False) -> None:  # fmt: skip
    """What a customer is worth: the formula with the bank's own churn."""
    _train(context, ("value",), as_of, trials, promote, json)


@train_app.command("all")
def train_everything(context: typer.Context, as_of: AsOf = None, trials: Trials = 0,
                     promote: Promote = False, json: Json = False) -> None:  # fmt: skip
    """All models."""
    _train(context, ALL_NAMES, as_of, trials, promote, json)


@models_app.command("list")
def list_models(context: typer.Context, json: Json = False) -> None:
    """Every version in the registry and which are live."""
    home = Home.open(context.obj)
    live = read_live(home.models)
    answer = ModelsAnswer(
        versions=[
            VersionReport(
                name=v.name,
                version=v.version,
                sha256=v.sha256,
                trained_as_of=v.trained_as_of,
                live=v.live,
            )
            for v in Registry.open(home.mlflow_uri).versions()
        ],
        live=live,
        missing=[name for name in NAMES if name not in live],
    )
    lines = [f"{v.name:<10}{v.version:>4}  {v.trained_as_of}  {'live' if v.live else ''}" for v in answer.versions]
    _say(answer, json, [*lines, *(f"{name:<10}   -  not live" for name in answer.missing)])


@models_app.command("promote")
def promote_model(context: typer.Context, name: str, version: str, json: Json = False) -> None:
    """Make a version live if it passes the gate; exit 1 with the failing line if it does not."""
    home = Home.open(context.obj)
    try:
        bundle = promote(home, name, version)
    except GateError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    _say_live(name, bundle, json)


@models_app.command("rollback")
def rollback_model(context: typer.Context, name: str, json: Json = False) -> None:
    """Make the former version live again, byte for byte."""
    _say_live(name, rollback(Home.open(context.obj), name), json)


@models_app.command("tier")
def tier_of(context: typer.Context, customer: str, json: Json = False) -> None:
    """One customer's value tier as of the live value model: what he brings, what his peers do, and why."""
    models = Home.open(context.obj).models
    sha = read_live(models).get("value")
    tiers = Tiers.load(models, verify_bundle(models / sha).dataset) if sha else None
    row = tiers.row(customer) if tiers else None
    if row is None:
        raise TrainingError("no tier of this customer; promote a value model trained after he joined")
    answer = TierAnswer.model_validate(row)
    _say(
        answer, json, [f"tier {answer.tier}, potential {answer.potential}, as of {answer.as_of:%Y-%m-%d}: {answer.why}"]
    )


def parse_instant(text: str, home: Home) -> datetime:
    """A day (its first instant in the bank's zone) or an ISO instant; TrainingError else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise TrainingError(f"--as-of `{text}` is no day or instant; write 2026-06-01") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=home.settings.tz)).astimezone(UTC)


def _train(context: typer.Context, names: Sequence[str], as_of: str | None, trials: int, live: bool,
           json: bool) -> None:  # fmt: skip
    home = Home.open(context.obj)
    cut = parse_instant(as_of, home) if as_of else home.now()
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

        trained = train_all(home, cut, trials, show, names)
        reports = [_report(home, model, live) for model in trained]
    said = [line for model in trained for line in model.assumptions]
    unasked = FROM_HOLDOUT if any(model.name == "organic" for model in trained) else NO_HOLDOUT
    about = [] if set(names) <= {"churn", "value"} else [unasked]
    told = list(dict.fromkeys([*home.assumptions(), *about, *said]))
    answer = TrainAnswer(as_of=cut, models=reports, assumptions=told)
    _say(answer, json, [line for report in reports for line in _lines(report)])


def _report(home: Home, model: TrainedModel, live: bool) -> ModelReport:
    report = ModelReport(
        name=model.name,
        version=model.version,
        sha256=model.sha256,
        served=model.served,
        rows=model.rows,
        seconds=model.seconds,
        metrics=model.metrics,
        later=model.later,
        notes=[*model.notes, *model.assumptions],
    )
    if not live:
        return report
    try:
        bundle = promote(home, model.name, model.version)
    except GateError as error:
        return report.model_copy(update={"gate": str(error)})
    return report.model_copy(update={"live": True, "gate": gate(verify_bundle(bundle))})


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
)


def _say_live(name: str, bundle: Path, json: bool) -> None:
    manifest = verify_bundle(bundle)
    served = sorted({note.served for note in manifest.parts.values()})
    why = gate(manifest)
    answer = LiveAnswer(name=name, version=manifest.version, sha256=bundle.name, gate=why)
    _say(
        answer,
        json,
        [
            f"{name} {manifest.version} ({', '.join(served)}) is live: {bundle.name}",
            *(f"  {x}" for x in why.split("; ")),
        ],
    )


def _say(answer: BaseModel, json: bool, lines: Sequence[str]) -> None:
    typer.echo("\n".join(lines), err=json)
    if json:
        typer.echo(answer.model_dump_json())
