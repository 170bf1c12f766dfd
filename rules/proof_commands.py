"""`nbo rules prove | diff | impact`: what can be said of every customer, before a change of rules lives.

Exit 0: proved, nothing in vain. 1: not proved, refuted, or undecided. 2: the files cannot be read, z3 is
not installed; one line says where. `diff` and `impact` answer a question: 0 whatever the answer is, but
`diff` 1 where something could not be decided. Nothing is written.
"""

import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from rules.errors import PolicyError
from rules.folder import PolicyFolder, find_policies, find_policy
from rules.impact import impact, read_batches
from rules.proof_answers import (
    DiffAnswer,
    ImpactAnswer,
    ProveAnswer,
    diff_answer,
    impact_row,
    prove_answer,
)
from rules.proof_lines import allowed_lines, impact_lines, suppressed_lines, undecided_lines, vain_lines
from rules.terms import Terms

Folder = Annotated[
    Path | None, typer.Argument(help="Folder of a policy, or a home. None: the home's, else the shipped one.")
]
Side = Annotated[Path, typer.Argument(help="A policy: its file, its folder, or a home.")]
On = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day the rules are in force; today.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def prove_command(context: typer.Context, folder: Folder = None, on: On = None, as_json: AsJson = False) -> None:
    """Prove every invariant of a policy, and list what it holds in vain; exit 1 where something is not proved."""
    [one] = _single(find_policies(folder, context.obj), "prove")
    answer: ProveAnswer = prove_answer(one, _day(on))
    _tell(answer, as_json, _prove_lines(answer), ok=answer.ok)


def _prove_lines(answer: ProveAnswer) -> list[object]:
    lines = [f"{p.outcome:8} {p.seconds:6.3f} s  {p.title}" + (f"\n{'':19}{p.invariant}: {p.words}" if p.words.en else "")
             for p in answer.proofs]  # fmt: skip
    proved = sum(proof.outcome == "proved" for proof in answer.proofs)
    told = f"{proved} of {len(answer.proofs)} invariants proved, {answer.seconds:.1f} s of processor time"
    return [*lines, *vain_lines(answer), told]


def diff_command(context: typer.Context, before: Side, after: Side, on: On = None, as_json: AsJson = False) -> None:
    """Say who is newly allowed and newly suppressed when policy A becomes B, or prove that nobody is."""
    old, new = _pair(before, after, context.obj)
    answer: DiffAnswer = diff_answer(old, new, _day(on))
    lines = [*answer.text, *allowed_lines(answer), *suppressed_lines(answer),
             *undecided_lines(answer),
             *(["only tightens: nothing newly allowed (proved)"] if answer.only_tightens else []),
             *(["only loosens: nothing newly suppressed (proved)"] if answer.only_loosens else [])]  # fmt: skip
    _tell(answer, as_json, lines, ok=not answer.undecided)


def impact_command(context: typer.Context, before: Side, after: Side,
                   customers: Annotated[Path, typer.Option(help="Parquet or Arrow file: CUSTOMERS and the columns the rules read.")],
                   scores: Annotated[Path | None, typer.Option(help="Parquet or Arrow file: their SCORES, in the same order.")] = None,
                   on: On = None, as_json: AsJson = False) -> None:  # fmt: skip
    """Count the customers and cells each rule gains or loses on a snapshot when policy A becomes B."""
    old, new = _pair(before, after, context.obj)
    left, right = (Terms(one.catalogue, one.policy, one.columns, _day(on)) for one in (old, new))
    if not customers.is_file() or (scores and not scores.is_file()):
        raise PolicyError(
            "is no file; give a snapshot of customers", file=str(scores if customers.is_file() else customers)
        )
    found = impact(left, right, read_batches(customers, scores, left, right))
    scored = scores is not None
    rows = [impact_row(name, part, scored=scored) for name, part in sorted(found.parts.items())]
    answer = ImpactAnswer(before=old.policy.revision, after=new.policy.revision, snapshot=customers.name,
                          customers=found.customers, opened=found.opened, silenced=found.silenced,
                          total=impact_row("total", found.total, scored=scored), rows=rows)  # fmt: skip
    _tell(answer, as_json, impact_lines(found, scored=scored), ok=True)


def _pair(before: Path, after: Path, home: Path | None) -> tuple[PolicyFolder, PolicyFolder]:
    """The policy of either side; where folders hold several, those of one name."""
    left, right = find_policy(before, home), find_policy(after, home)
    pairs = [
        (a, b) for a in left for b in right if len(left) == len(right) == 1 or a.policy_file.name == b.policy_file.name
    ]
    if len(pairs) != 1:
        names = ", ".join(dict.fromkeys(one.policy_file.name for one in (*left, *right)))
        raise PolicyError(
            f"and the other side hold {names}; name the file of one policy on each side", file=str(before)
        )
    return pairs[0]


def _single(found: list[PolicyFolder], what: str) -> list[PolicyFolder]:
    """Those of several policies that state invariants; PolicyError unless it is one."""
    stated = found if len(found) == 1 else [one for one in found if one.invariants_file.is_file()]
    if len(stated) != 1:
        names = ", ".join(one.policy_file.name for one in found)
        raise PolicyError(
            f"holds {names}; {what} one policy with invariants at a time", file=str(found[0].policy_file.parent)
        )
    return stated


def _day(on: datetime | None) -> date:
    return (on or datetime.now(UTC)).date()


def _tell(answer: BaseModel, as_json: bool, lines: Iterable[object], *, ok: bool) -> None:
    sys.stdout.write((answer.model_dump_json() if as_json else "\n".join(map(str, lines))) + "\n")
    if not ok:
        raise typer.Exit(1)


def mount(app: typer.Typer) -> None:
    """Add the three commands to `nbo rules`."""
    app.command("prove")(prove_command)
    app.command("diff")(diff_command)
    app.command("impact")(impact_command)
