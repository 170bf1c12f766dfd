"""`nbo rules prove | diff | impact`: what can be said of every customer, before a change of rules lives.

Exit 0: proved, nothing in vain. 1: not proved, refuted, or undecided. 2: the files cannot be read, z3 is
not installed; one line says where. `diff` and `impact` answer a question: 0 whatever the answer is, but
`diff` 1 where something could not be decided. Nothing is written.
"""

import sys
import time
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from rules.diff import Change, compare
from rules.errors import PolicyError
from rules.example import Example
from rules.folder import PolicyFolder, find_policies, find_policy
from rules.impact import Impact, impact, read_batches
from rules.invariants import load_invariants
from rules.language import Language
from rules.policy import with_state
from rules.proofs import prove
from rules.prove import Facts
from rules.shadows import find_shadows
from rules.terms import Terms

Folder = Annotated[
    Path | None, typer.Argument(help="Folder of a policy, or a home. None: the home's, else the shipped one.")
]
Side = Annotated[Path, typer.Argument(help="A policy: its file, its folder, or a home.")]
On = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day the rules are in force; today.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


class Proof(BaseModel):
    """One invariant. outcome: proved | refuted | unknown; witness: a customer who breaks it, null if proved.

    words: he in words, or why it is not known; cell: `offer x channel, direction`; day: of the rules that break it.
    """

    invariant: str
    title: str
    outcome: str
    witness: Facts | None
    cell: str | None
    words: str
    day: date | None
    seconds: float


class ProveAnswer(BaseModel):
    """`nbo rules prove --json`: every invariant, and rules that can never or always fire or are shadowed.

    closed: cells nobody can get; idle_campaigns: campaigns that reach nobody; undecided: what the prover gave up on.
    """

    ok: bool
    revision: str
    proofs: list[Proof]
    dead: list[str]
    always: list[str]
    shadowed: list[str]
    closed: list[str]
    idle_campaigns: list[str]
    undecided: list[str]
    seconds: float


class ChangeAnswer(BaseModel):
    """Whom a part closed, or now closes: the cells, and one customer in words and as facts."""

    part: str
    cells: list[str]
    customer: str
    facts: Facts
    day: date | None


class DiffAnswer(BaseModel):
    """`nbo rules diff A B --json`: a customer newly allowed and one newly suppressed; null: proved there is none.

    only_tightens: proved that nothing is newly allowed. allowed, suppressed: one customer for each part.
    """

    before: str
    after: str
    only_tightens: bool
    only_loosens: bool
    newly_allowed: Facts | None
    newly_suppressed: Facts | None
    text: list[str]
    allowed: list[ChangeAnswer]
    suppressed: list[ChangeAnswer]
    undecided: list[str]


class ImpactRow(BaseModel):
    """What one rule of the change costs or gains on a snapshot. Values are null where no scores were given."""

    rule: str
    customers_gained: int
    customers_lost: int
    cells_gained: int
    cells_lost: int
    value_gained_minor: int | None
    value_lost_minor: int | None


class ImpactAnswer(BaseModel):
    """`nbo rules impact A B --json`: per rule, on the snapshot given; nothing is written."""

    before: str
    after: str
    snapshot: str
    customers: int
    opened: int
    silenced: int
    total: ImpactRow
    rows: list[ImpactRow]


def terms_of(one: PolicyFolder, day: date | None) -> Terms:
    """The terms of a policy on a day, with the campaigns of its home."""
    return Terms(one.catalogue, one.policy, one.columns, day, audiences=one.audiences)


def prove_command(context: typer.Context, folder: Folder = None, on: On = None, as_json: AsJson = False) -> None:
    """Prove every invariant of a policy, and list what it holds in vain; exit 1 where something is not proved."""
    [one] = _single(find_policies(folder, context.obj), "prove")
    terms, start = terms_of(one, _day(on)), time.process_time()
    if not one.invariants_file.is_file():
        raise PolicyError(
            "there are no invariants; write what must hold beside the policy", file=str(one.invariants_file)
        )
    asked = load_invariants(one.invariants_file, one.policy, one.catalogue, one.columns).invariants
    language = Language(terms.vocabulary, terms.catalogue)
    proofs = [_proof(proof.invariant.id, proof.invariant.title.en, proof.outcome, proof.witness, proof.note, proof.day,
                     proof.seconds, language) for proof in prove(asked, terms)]  # fmt: skip
    found = find_shadows(terms)
    ok = all(proof.outcome == "proved" for proof in proofs) and not any(asdict(found).values())
    answer = ProveAnswer(
        ok=ok, revision=one.policy.revision, proofs=proofs, **asdict(found), seconds=time.process_time() - start
    )
    _tell(answer, as_json, _prove_lines(answer), ok=ok)


def _prove_lines(answer: ProveAnswer) -> list[str]:
    lines = [f"{p.outcome:8} {p.seconds:6.3f} s  {p.title}" + (f"\n{'':19}{p.invariant}: {p.words}" if p.words else "")
             for p in answer.proofs]  # fmt: skip
    said = {"dead": "never fires", "always": "closes everything in its scope", "shadowed": "is shadowed: others close what it closes",
            "closed": "is closed to everybody", "idle_campaigns": "is a campaign that reaches nobody",
            "undecided": "could not be decided in time"}  # fmt: skip
    lines += [f"{name}: {what}" for key, what in said.items() for name in getattr(answer, key)]
    proved = sum(proof.outcome == "proved" for proof in answer.proofs)
    return [*lines, f"{proved} of {len(answer.proofs)} invariants proved, {answer.seconds:.1f} s of processor time"]


def _proof(name: str, title: str, outcome: str, witness: Example | None, note: str, day: date | None, seconds: float,
           language: Language) -> Proof:  # fmt: skip
    cell = f"{witness.offer} x {witness.channel}, {witness.direction}" if witness else None
    words = f"open to a customer all the same: {witness.words(language, 'en')}" if witness else note
    return Proof(invariant=name, title=title, outcome=outcome, witness=witness.facts if witness else None, cell=cell,
                 words=words, day=day, seconds=round(seconds, 6))  # fmt: skip


def diff_command(context: typer.Context, before: Side, after: Side, on: On = None, as_json: AsJson = False) -> None:
    """Say who is newly allowed and newly suppressed when policy A becomes B, or prove that nobody is."""
    old, new = _pair(before, after, context.obj)
    left, right = (
        Terms(one.catalogue, one.policy, one.columns, _day(on)) for one in (old, new)
    )  # whatever campaigns run
    found = compare(left, right)
    languages = [Language(with_state(one.columns, one.policy, one.catalogue), one.catalogue) for one in (new, old)]
    allowed, suppressed = (
        [_change(change, languages) for change in changes] for changes in (found.allowed, found.suppressed)
    )
    answer = DiffAnswer(
        before=old.policy.revision, after=new.policy.revision, only_tightens=found.only_tightens,
        only_loosens=found.only_loosens, newly_allowed=allowed[0].facts if allowed else None,
        newly_suppressed=suppressed[0].facts if suppressed else None, text=found.text, allowed=allowed,
        suppressed=suppressed, undecided=found.undecided)  # fmt: skip
    lines = [*found.text, *[f"newly allowed, closed by `{c.part}` before ({len(c.cells)} cells): {c.customer}" for c in allowed],
             *[f"newly suppressed by `{c.part}` ({len(c.cells)} cells): {c.customer}" for c in suppressed],
             *[f"undecided, so not proved: {name}" for name in found.undecided],
             *(["only tightens: nothing newly allowed (proved)"] if found.only_tightens else []),
             *(["only loosens: nothing newly suppressed (proved)"] if found.only_loosens else [])]  # fmt: skip
    _tell(answer, as_json, lines, ok=not found.undecided)


def _change(change: Change, languages: list[Language]) -> ChangeAnswer:
    """The change in words of the first side that knows its columns."""
    knows = [each for each in languages if set(change.example.facts) <= set(each.columns.names)]
    example = change.example
    said = (
        example.words(knows[0], "en")
        if knows
        else f"{example.offer} x {example.channel}, {example.direction}: {example.facts}"
    )
    return ChangeAnswer(part=change.part, cells=list(change.cells), customer=said, facts=example.facts, day=change.day)


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
    rows = [_row(name, part, scored=scores is not None) for name, part in sorted(found.parts.items())]
    answer = ImpactAnswer(before=old.policy.revision, after=new.policy.revision, snapshot=customers.name,
                          customers=found.customers, opened=found.opened, silenced=found.silenced,
                          total=_row("total", found.total, scored=scores is not None), rows=rows)  # fmt: skip
    lines = [f"{row.rule}: +{row.cells_gained:,} cells of {row.customers_gained:,} customers, -{row.cells_lost:,} of {row.customers_lost:,}"
             + (f"; value +{row.value_gained_minor:,} -{row.value_lost_minor:,} minor" if scores else "") for row in (*rows, answer.total)]  # fmt: skip
    lines += [
        f"{found.customers:,} customers: {found.opened:,} get a first offer, {found.silenced:,} lose their last; nothing was written"
    ]
    _tell(answer, as_json, lines, ok=True)


def _row(rule: str, found: Impact, *, scored: bool) -> ImpactRow:
    row = ImpactRow(rule=rule, **asdict(found))
    return row if scored else row.model_copy(update={"value_gained_minor": None, "value_lost_minor": None})


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


def _tell(answer: BaseModel, as_json: bool, lines: list[str], *, ok: bool) -> None:
    sys.stdout.write((answer.model_dump_json() if as_json else "\n".join(lines)) + "\n")
    if not ok:
        raise typer.Exit(1)


def mount(app: typer.Typer) -> None:
    """Add the three commands to `nbo rules`."""
    app.command("prove")(prove_command)
    app.command("diff")(diff_command)
    app.command("impact")(impact_command)
