"""`nbo models offpolicy FILE --policy P`: what another policy would have brought, or why nobody can say.

Exit 0: figures. 1: the log does not support the policy. 2: the file or the policy is no good.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from features.terminal import AsJson
from training.decisionlog import beside, read_log
from training.offpolicy import PolicyValue, SupportError, value_of

Policy = Annotated[str, typer.Option(help="A column of the log, or: best, uniform, expected.")]
Clip = Annotated[float | None, typer.Option(help="Cut weights above this; declared in the answer.")]
_WORDS = {"ips": "IPS", "snips": "SNIPS", "dr": "doubly robust"}


class Figure(BaseModel):
    """An estimate per decision, with its 95 % interval by household."""

    value: float
    standard_error: float
    low: float
    high: float


class OffPolicyAnswer(BaseModel):
    """`nbo models offpolicy --json`. refused: why there is no figure; then all below `unripe` is null or empty.

    values: per method what the policy would have brought per decision; gains: the same less what was
    brought; unripe: decisions left out because their answer may still come.
    """

    policy: str
    refused: str | None
    n_decisions: int
    unripe: int
    n_units: int | None = None
    ess: float | None = None
    ess_rewarded: float | None = None
    mean_weight: float | None = None
    most_weight: float | None = None
    clip: float | None = None
    clipped_share: float | None = None
    logged: Figure | None = None
    values: dict[str, Figure] = {}
    gains: dict[str, Figure] = {}
    notes: list[str] = []


def offpolicy(file: Path, policy: Policy = "best", clip: Clip = None, json: AsJson = False) -> None:
    """What another policy would have brought, from a log of decisions (see `nbo audit log`)."""
    log = read_log(file)
    decisions = log.rows["decision_id"].n_unique()
    try:
        found = value_of(beside(log, policy), clip)
        if log.unlogged:
            found = replace(
                found, notes=(*found.notes, f"{log.unlogged} rows without `p_log` are left out: they cannot be chosen")
            )
    except SupportError as error:
        answer = OffPolicyAnswer(policy=policy, refused=str(error), n_decisions=decisions, unripe=log.unripe)
        typer.echo(str(error), err=True)
        if json:
            typer.echo(answer.model_dump_json())
        raise typer.Exit(1) from error
    answer = OffPolicyAnswer.model_validate({"policy": policy, "refused": None, "unripe": log.unripe, **asdict(found)})
    typer.echo(answer.model_dump_json() if json else "\n".join(report_lines(policy, found)))
    if json:
        typer.echo("\n".join(report_lines(policy, found)), err=True)


def report_lines(policy: str, found: PolicyValue) -> list[str]:
    """The report in words, a line each."""
    share = found.ess / found.n_decisions
    lines = [
        f"{found.n_decisions} decisions of {found.n_units} units; worth {found.ess:.0f} ({share:.1%}) for `{policy}`",
        f"  weights: mean {found.mean_weight:.3f}, largest {found.most_weight:.1f}"
        + ("" if found.clip is None else f", {found.clipped_share:.1%} cut at {found.clip:g}"),
        f"  {'as logged':<14} {found.logged.value:.5f}  ({found.logged.low:.5f} to {found.logged.high:.5f})",
    ]
    for name, figure in found.values.items():
        gain = found.gains[name]
        lines.append(
            f"  {_WORDS[name]:<14} {figure.value:.5f}  ({figure.low:.5f} to {figure.high:.5f});"
            f" more than the log by {gain.value:+.5f} ({gain.low:+.5f} to {gain.high:+.5f})"
        )
    return [*lines, *(f"  {note}" for note in found.notes)]
