"""`nbo models`: what is registered, make a version live, go back, and read a customer's tier.

The command's home stands in `ctx.obj`. With --json exactly one object goes to stdout and people's
text to stderr; errors are one-line ValueErrors, which the front door prints.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import typer
from pydantic import BaseModel

from features.home import Home
from features.terminal import AsJson
from training.bundle import verify_bundle
from training.errors import GateError, TrainingError
from training.promotion import promote, rollback
from training.registry import Registry
from training.score import NAMES, read_live
from training.tiers import Tiers

models_app = typer.Typer(name="models", no_args_is_help=True, help="See models, make one live, go back.")


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


@models_app.command("list")
def list_models(context: typer.Context, json: AsJson = False) -> None:
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
    say(answer, json, [*lines, *(f"{name:<10}   -  not live" for name in answer.missing)])


@models_app.command("promote")
def promote_model(context: typer.Context, name: str, version: str, json: AsJson = False) -> None:
    """Make a version live if it passes the gate; exit 1 with the failing line if it does not."""
    home = Home.open(context.obj)
    try:
        promoted = promote(home, name, version)
    except GateError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    _say_live(name, promoted.bundle, promoted.gate, json)


@models_app.command("rollback")
def rollback_model(context: typer.Context, name: str, json: AsJson = False) -> None:
    """Make the former version live again, byte for byte."""
    bundle = rollback(Home.open(context.obj), name)
    _say_live(name, bundle, "passed the gate of its day; decides again as it did", json)


@models_app.command("tier")
def tier_of(context: typer.Context, customer: str, json: AsJson = False) -> None:
    """One customer's value tier as of the live value model: what he brings, what his peers do, and why."""
    models = Home.open(context.obj).models
    sha = read_live(models).get("value")
    tiers = Tiers.load(models, verify_bundle(models / sha).dataset) if sha else None
    row = tiers.row(customer) if tiers else None
    if row is None:
        raise TrainingError("no tier of this customer; promote a value model trained after he joined")
    answer = TierAnswer.model_validate(row)
    say(
        answer, json, [f"tier {answer.tier}, potential {answer.potential}, as of {answer.as_of:%Y-%m-%d}: {answer.why}"]
    )


def _say_live(name: str, bundle: Path, why: str, json: bool) -> None:
    manifest = verify_bundle(bundle)
    served = sorted({note.served for note in manifest.parts.values()})
    answer = LiveAnswer(name=name, version=manifest.version, sha256=bundle.name, gate=why)
    say(
        answer,
        json,
        [
            f"{name} {manifest.version} ({', '.join(served)}) is live: {bundle.name}",
            *(f"  {x}" for x in why.split("; ")),
        ],
    )


def say(answer: BaseModel, json: bool, lines: Sequence[str]) -> None:
    """People's lines, to stderr where the answer goes to stdout as JSON."""
    typer.echo("\n".join(lines), err=json)
    if json:
        typer.echo(answer.model_dump_json())
