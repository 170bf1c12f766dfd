"""Proofs: every invariant of a policy proved, or a customer who breaks it.

Open is what the compiled program leaves open: no step that governs the cell is TRUE or UNKNOWN. An
invariant is proved where no customer at all has a cell of its scope open while the condition is not TRUE,
on the day asked and in each later set of rules that is written already. A customer the prover finds is
shown only when the engine, asked itself, leaves the cell open to him.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal as Is

from rules.closures import closure
from rules.example import Example, is_open, plainer
from rules.governing import governing
from rules.invariants import Invariant
from rules.language import Language
from rules.policy import ContactPolicy
from rules.program import DIRECTIONS, Step
from rules.prove import Facts, Formula, Prover, UndecidedError, columns_read
from rules.terms import Terms
from rules.tree import Node, fold

Outcome = Is["proved", "refuted", "unknown"]


@dataclass(frozen=True)
class Proof:
    """One invariant. witness: a customer who breaks it, if refuted; note: why it is not known; day: of the rules."""

    invariant: Invariant
    outcome: Outcome
    witness: Example | None
    seconds: float  # of the processor, the compilation of the rules apart
    day: date | None = None
    note: str = ""


def prove(invariants: Sequence[Invariant], terms: Terms) -> Iterator[Proof]:
    """One proof for each invariant, in order. terms: of the day asked; its campaigns and switches are left out.

    Raises ProverMissingError where z3 is not installed.
    """
    plain = replace(terms, audiences=None, paused=frozenset())
    days = [replace(plain, day=day) for day in rule_days(terms.policy, terms.day)]
    provers = [Prover(terms.vocabulary) for _ in days]
    for invariant in invariants:
        proof, seconds = Proof(invariant, "proved", None, 0.0), 0.0
        for one, prover in zip(days, provers, strict=True):
            paused = replace(one, paused=frozenset(invariant.paused)) if invariant.paused else one
            assert paused.program  # compiled before the clock starts, once for all but switches
            start = time.process_time()
            proof = _proved(invariant, paused, prover)
            seconds += time.process_time() - start
            if proof.outcome != "proved":
                break
        yield replace(proof, seconds=seconds)


def rule_days(policy: ContactPolicy, day: date | None) -> list[date | None]:
    """The day, and every later day on which another set of rules comes into force; [None]: all rules at once."""
    if day is None:
        return [None]
    turns = {day}
    for part in policy.parts:
        turns |= {part.effective.from_} if part.effective.from_ else set()
        turns |= {part.effective.to + timedelta(days=1)} if part.effective.to else set()
    return [turn for turn in sorted(turns) if turn >= day]


def left_open(prover: Prover, steps: Sequence[Step]) -> Formula:
    """The formula: none of these steps closes."""
    return prover.z3.And([prover.truth(when).false for when in dict.fromkeys(step.when for step in steps)])


def _proved(invariant: Invariant, terms: Terms, prover: Prover) -> Proof:
    """Cells governed by the same steps and bound by the same claim are one question."""
    language = Language(terms.vocabulary, terms.catalogue)
    claim, scope = language.parse(invariant.open_only_if), invariant.scope
    asked: dict[tuple[Node, tuple[Node, ...]], tuple[str, int, tuple[Step, ...]]] = {}
    for direction in DIRECTIONS:
        for cell, facts in enumerate(language.cells):
            if scope.direction in ("any", direction) and scope.cells(terms.catalogue) >> cell & 1:
                steps = governing(terms.program, direction, cell)
                asked.setdefault((fold(claim, facts), tuple(step.when for step in steps)), (direction, cell, steps))
    for (said, whens), (direction, cell, steps) in asked.items():
        wrong = prover.z3.Not(prover.truth(said).true)
        try:
            if not _apart(prover, steps, said, wrong):
                continue
            facts = prover.find([left_open(prover, steps), wrong], columns_read([said, *whens]))
        except UndecidedError as error:
            return Proof(invariant, "unknown", None, 0.0, terms.day, str(error))
        if facts is None:
            continue
        broken = _breaks(terms, said, direction, cell)
        if not broken(facts):
            note = "the prover's customer does not stand before the engine: arithmetic of floats is not that of reals"
            return Proof(invariant, "unknown", None, 0.0, terms.day, note)
        facts = plainer(facts, terms.vocabulary, broken)
        witness = example(terms, cell, direction, facts, columns_read([said]))
        return Proof(invariant, "refuted", witness, 0.0, terms.day)
    return Proof(invariant, "proved", None, 0.0, terms.day)


def _apart(prover: Prover, steps: Sequence[Step], said: Node, wrong: Formula) -> bool:
    """Whether more than the steps that share a column with the claim is needed to decide; mostly they suffice."""
    names = columns_read([said])
    near = [step for step in steps if columns_read([step.when]) & names or not columns_read([step.when])]
    return prover.find([left_open(prover, near), wrong], ()) is not None


def _breaks(terms: Terms, said: Node, direction: str, cell: int) -> Callable[[Facts], bool]:
    claimed = closure(said)
    return lambda facts: claimed(facts) is not True and is_open(terms, facts, direction, cell)


def example(terms: Terms, cell: int, direction: str, facts: Facts, about: Iterable[str] = ()) -> Example:
    """The facts with the names of their cell. about: the columns they are told for."""
    offer, channel = divmod(cell, len(terms.catalogue.channels))
    names = (terms.catalogue.offers[offer].id, terms.catalogue.channels[channel].id)
    return Example(*names, direction, facts, frozenset(about))
