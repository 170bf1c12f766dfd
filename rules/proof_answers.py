"""What proofs, diffs and impacts answer: one model for each command, made from the policies on either side.

Commands print them, and the review of a change keeps what it needs of them: proof_lines. Nothing is written.
"""

import time
from dataclasses import asdict
from datetime import date

from pydantic import BaseModel

from rules.diff import Change, compare
from rules.errors import PolicyError
from rules.example import Example
from rules.folder import PolicyFolder
from rules.impact import Impact
from rules.invariants import load_invariants
from rules.language import Language
from rules.line import Line
from rules.policy import with_state
from rules.proofs import prove
from rules.prove import Facts
from rules.shadows import find_shadows
from rules.terms import Terms


class Proof(BaseModel):
    """One invariant. outcome: proved | refuted | unknown; witness: a customer who breaks it, null if proved.

    words: he in words, or why it is not known; cell: `offer x channel, direction`; day: of the rules that break it.
    """

    invariant: str
    title: Line
    outcome: str
    witness: Facts | None
    cell: str | None
    words: Line
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
    customer: Line
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
    text: list[Line]
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


def prove_answer(one: PolicyFolder, day: date | None) -> ProveAnswer:
    """Every invariant of the policy proved or not, and what it holds in vain; PolicyError where none are stated."""
    terms, start = terms_of(one, day), time.process_time()
    if not one.invariants_file.is_file():
        raise PolicyError(
            "there are no invariants; write what must hold beside the policy", file=str(one.invariants_file)
        )
    asked = load_invariants(one.invariants_file, one.policy, one.catalogue, one.columns).invariants
    language = Language(terms.vocabulary, terms.catalogue)
    proofs = [_proof(proof.invariant.id, proof.invariant.title, proof.outcome, proof.witness, proof.note, proof.day,
                     proof.seconds, language) for proof in prove(asked, terms)]  # fmt: skip
    found = find_shadows(terms)
    ok = all(proof.outcome == "proved" for proof in proofs) and not any(asdict(found).values())
    return ProveAnswer(
        ok=ok, revision=one.policy.revision, proofs=proofs, **asdict(found), seconds=time.process_time() - start
    )


def diff_answer(old: PolicyFolder, new: PolicyFolder, day: date | None) -> DiffAnswer:
    """Who is newly allowed and newly suppressed when the one becomes the other, whatever campaigns run."""
    left, right = (Terms(one.catalogue, one.policy, one.columns, day) for one in (old, new))
    found = compare(left, right)
    languages = [Language(with_state(one.columns, one.policy, one.catalogue), one.catalogue) for one in (new, old)]
    allowed, suppressed = (
        [_change(change, languages) for change in changes] for changes in (found.allowed, found.suppressed)
    )
    return DiffAnswer(
        before=old.policy.revision, after=new.policy.revision, only_tightens=found.only_tightens,
        only_loosens=found.only_loosens, newly_allowed=allowed[0].facts if allowed else None,
        newly_suppressed=suppressed[0].facts if suppressed else None, text=found.text, allowed=allowed,
        suppressed=suppressed, undecided=found.undecided)  # fmt: skip


def impact_row(rule: str, found: Impact, *, scored: bool) -> ImpactRow:
    """One row of the answer; values null where nothing was scored."""
    row = ImpactRow(rule=rule, **asdict(found))
    return row if scored else row.model_copy(update={"value_gained_minor": None, "value_lost_minor": None})


def _proof(name: str, title: Line, outcome: str, witness: Example | None, note: str, day: date | None, seconds: float,
           language: Language) -> Proof:  # fmt: skip
    cell = f"{witness.offer} x {witness.channel}, {witness.direction}" if witness else None
    words = Line.alike(note)
    if witness:
        en, zh = (witness.words(language, tongue) for tongue in ("en", "zh"))
        words = Line(en=f"open to a customer all the same: {en}", zh=f"仍对一位客户开放：{zh}")
    return Proof(invariant=name, title=title, outcome=outcome, witness=witness.facts if witness else None, cell=cell,
                 words=words, day=day, seconds=round(seconds, 6))  # fmt: skip


def _change(change: Change, languages: list[Language]) -> ChangeAnswer:
    """The change in words of the first side that knows its columns."""
    knows = [each for each in languages if set(change.example.facts) <= set(each.columns.names)]
    example = change.example
    said = (
        Line(en=example.words(knows[0], "en"), zh=example.words(knows[0], "zh"))
        if knows
        else Line.alike(f"{example.offer} x {example.channel}, {example.direction}: {example.facts}")
    )
    return ChangeAnswer(part=change.part, cells=list(change.cells), customer=said, facts=example.facts, day=change.day)
