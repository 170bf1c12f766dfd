"""`nbo models monitor | challenge | compare | unchallenge`: after go-live.

Exit 0: no alarm. 1: an alarm, a line each. 2: the home or the arguments are no good.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer
from pydantic import BaseModel

from features.commands import parse_instant
from features.home import Home
from features.terminal import AsJson
from training.contest import challenge, compare, end_challenge
from training.errors import GateError
from training.monitor import monitor

Since = Annotated[
    str | None, typer.Option(help="From this day or instant on, at the earliest since training (the default).")
]
Later = Annotated[
    str | None, typer.Option(help="From this later day or instant on; default: since the challenge began.")
]
Share = Annotated[float, typer.Option(help="Of the units, at most half.")]
Season = Annotated[str | None, typer.Option(help="Name of the draw; default: the half-year, 2026H1.")]


class ModelStateReport(BaseModel):
    """One live model since an instant; see training.monitor.ModelState."""

    name: str
    sha256: str
    since: datetime
    rows: int
    positives: int
    rate: float | None
    foretold: float | None
    off_low: float | None
    off_high: float | None
    psi: float | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    auc_before: float | None
    alarms: list[str]
    unmeasured: str | None


class MonitorAnswer(BaseModel):
    """`nbo models monitor --json`; alarms: of all models, `name: line`."""

    models: list[ModelStateReport]
    alarms: list[str]


class ChallengeAnswer(BaseModel):
    """`nbo models challenge --json`: who decides for which share of the units from now on."""

    name: str
    sha256: str
    share: float
    season: str
    started_at: datetime


class CompareAnswer(BaseModel):
    """`nbo models compare --json`; see training.contest.Comparison. Above 0 is the challenger's."""

    name: str
    since: datetime
    rows: tuple[int, int]
    units: tuple[int, int]
    gain: float
    gain_low: float
    gain_high: float
    rates: tuple[float | None, float | None]
    rate_gain_low: float | None
    rate_gain_high: float | None


class UnchallengeAnswer(BaseModel):
    """`nbo models unchallenge --json`: the live model decides for every unit again."""

    name: str


def watch(context: typer.Context, since: Since = None, json: AsJson = False) -> None:
    """Do the live models still say what happens? Exit 1 on an alarm."""
    home = Home.open(context.obj)
    asked = parse_instant(since, home) if since else None
    states = monitor(home, asked)
    answer = MonitorAnswer(
        models=[ModelStateReport.model_validate(asdict(state)) for state in states],
        alarms=[f"{state.name}: {line}" for state in states for line in state.alarms],
    )
    lines: list[str] = []
    for state in answer.models:
        figures = {
            "rate": state.rate,
            "foretold": state.foretold,
            "psi": state.psi,
            "auc": state.auc,
            "auc before": state.auc_before,
        }
        shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items() if value is not None)
        lines.append(
            f"{state.name:<9} since {state.since:%F}: {state.rows} rows, {state.positives} positives; {shown or state.unmeasured}"
        )
        if asked and state.since > asked:
            lines.append(
                f"  counted since {state.since:%F}, what it was trained to: it has learned from what was before"
            )
        lines += [f"  ALARM {line}" for line in state.alarms]
    _say(answer, json, lines)
    if answer.alarms:
        raise typer.Exit(1)


def put_challenger(context: typer.Context, name: str, version: str, share: Share = 0.1, season: Season = None,
                   json: AsJson = False) -> None:  # fmt: skip
    """Let VERSION decide for a share of the units, after the same gate as a promotion."""
    home = Home.open(context.obj)
    now = home.now().astimezone(home.settings.tz)
    try:
        made = challenge(home, name, version, share, season or f"{now.year}H{1 if now.month <= 6 else 2}")
    except GateError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    answer = ChallengeAnswer.model_validate({"name": name, **made.model_dump()})
    _say(answer, json, [f"{name} {version} decides for {made.share:.0%} of the units in {made.season}: {made.sha256}"])


def compare_models(context: typer.Context, name: str, since: Later = None, json: AsJson = False) -> None:
    """The challenger beside the champion, on decisions since the challenge began whose outcomes are ripe."""
    home = Home.open(context.obj)
    asked = parse_instant(since, home) if since else None
    found = compare(home, name, asked)
    answer = CompareAnswer.model_validate(asdict(found))
    lines = [
        f"{name} since {found.since:%F}: {found.rows[0]} rows decided by the champion, {found.rows[1]} by the challenger",
        f"  log loss saved per row, both on every row: {found.gain:+.5f} ({found.gain_low:+.5f} to {found.gain_high:+.5f})",
    ]
    if asked and found.since > asked:
        lines.append(
            f"  counted since {found.since:%F}: before, the challenge had not begun, or one had learned from it"
        )
    if found.rate_gain_low is not None and found.rate_gain_high is not None:
        lines.append(f"  positives more per row it decided: {found.rate_gain_low:+.4f} to {found.rate_gain_high:+.4f}")
    _say(answer, json, lines)


def drop_challenger(context: typer.Context, name: str, json: AsJson = False) -> None:
    """Give every unit back to the live model."""
    end_challenge(Home.open(context.obj), name)
    _say(UnchallengeAnswer(name=name), json, [f"{name}: the live model decides for every unit"])


def _say(answer: BaseModel, json: bool, lines: list[str]) -> None:
    typer.echo("\n".join(lines), err=json)
    if json:
        typer.echo(answer.model_dump_json())
