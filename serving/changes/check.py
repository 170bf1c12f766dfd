"""The check of a change: parse, types, cases, proofs, diff, impact - what those who judge it are shown.

A check reads two whole sets of files, the one the change is built upon and the one it makes. It fails where a
case does not hold, a part has no case, an invariant is not proved, or cases or invariants that were there are
gone. Everything else is told, and is the approver's to weigh.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from rules.diff import changed_fields, changed_text
from rules.errors import RulesError
from rules.folder import PolicyFolder, find_policies
from rules.impact import Rows, impact
from rules.lint import lint
from rules.liveset import Files
from rules.proof_answers import (
    allowed_lines,
    diff_answer,
    impact_lines,
    prove_answer,
    suppressed_lines,
    vain_lines,
)
from rules.review import Kind
from rules.suppress import suppress
from rules.terms import Terms
from rules.tried import try_cases
from serving.changes.live import laid_out
from serving.engine import Engine
from serving.http.messages.change import CheckReport
from serving.ledger.book import Ledger
from serving.lists.batch import chunks, read_inputs

LINES_MAX = 100  # of one list of a report
IMPACT_CHUNKS_MAX = 8  # of serving.lists.batch.CHUNK customers


def kinds_named(names: Iterable[str]) -> frozenset[Kind]:
    """What files of these names are about; a catalogue is told apart by `kinds_of`."""
    told = {"policies": Kind.RULES, "campaigns": Kind.CAMPAIGNS}
    return frozenset(told.get(name.partition("/")[0], Kind.LEVERS) for name in names)


def kinds_of(before: Engine, after: Engine, names: Iterable[str]) -> frozenset[Kind]:
    """What a change of the files of these names changes."""
    kinds = kinds_named(names)
    if Kind.LEVERS not in kinds:
        return kinds
    plain_offers = [
        [offer.model_copy(update={"lever": 1.0}) for offer in one.catalogue.offers] for one in (before, after)
    ]
    rest = [one.catalogue.model_dump(exclude={"offers"}) for one in (before, after)]
    levers_alone = plain_offers[0] == plain_offers[1] and rest[0] == rest[1]
    return kinds if levers_alone else kinds - {Kind.LEVERS} | {Kind.CATALOGUE}


def check(before: Engine, base: Files, made: Files, ledger: Ledger) -> CheckReport:
    """Check the set a change makes against the set it is built upon. Errors of the files as in `Engine.open`.

    Reads the ledger and the newest snapshot for the impact, writes nothing. Takes seconds of the processor.
    """
    names = frozenset(name for name in {*base, *made} if base.get(name) != made.get(name))
    with laid_out(base) as here, laid_out(made) as there:
        after = before.with_files(there, "draft")
        old, new = _policy(here, before), _policy(there, before)
        ruled = any(not name.startswith("campaigns/") for name in names)
        found = _Found(names, base, made)
        found.text += _changed(before, after)
        if ruled:
            for step in (lambda: _try(found, new, there), lambda: _prove(found, old, new, before)):
                try:
                    step()
                except RulesError as error:  # cases or invariants that do not load, or no prover: nothing passes
                    found.problems.append(plain(str(error), there, here))
        found.text += [f"{name}: {'removed' if name not in made else 'added' if name not in base else 'changed'}"
                       for name in sorted(names)]  # fmt: skip
        found.impact += _impact(before, after, ledger)
    return found.report()


class _Found:
    """What has been found so far."""

    def __init__(self, names: frozenset[str], base: Files, made: Files) -> None:
        self.problems: list[str] = []
        self.text: list[str] = []
        self.notes: list[str] = []
        self.impact: list[str] = []
        self.allowed: list[str] = []
        self.suppressed: list[str] = []
        self.cases = self.invariants = 0
        self.only_tightens: bool | None = None
        for name in sorted(names):
            if name in base and name not in made and name.endswith((".cases.yaml", ".invariants.yaml")):
                self.problems.append(f"{name} goes: what was tried and proved may be changed, not dropped")

    def report(self) -> CheckReport:
        """The report; long lists are cut, and say so."""
        return CheckReport(
            passed=not self.problems, problems=_cut(self.problems), text=_cut(self.text), cases=self.cases,
            invariants=self.invariants, only_tightens=self.only_tightens, newly_allowed=_cut(self.allowed),
            newly_suppressed=_cut(self.suppressed), notes=_cut(self.notes), impact=_cut(self.impact))  # fmt: skip


def _cut(lines: list[str]) -> tuple[str, ...]:
    more = [f"and {len(lines) - LINES_MAX:,} more"] if len(lines) > LINES_MAX else []
    return (*lines[:LINES_MAX], *more)


def _policy(folder: Path, engine: Engine) -> PolicyFolder:
    """The one policy of the folder, its rules over the features of the home."""
    [found] = find_policies(folder, folder)
    return replace(found, given=pa.schema([field for field in engine.store.schema if field.metadata]))


def _try(found: _Found, new: PolicyFolder, folder: Path) -> None:
    """Lint and cases."""
    for finding in lint(new.unchecked, new.catalogue, new.columns, new.document):
        line = f"{finding.severity}: {f'`{finding.part}`: ' if finding.part else ''}{finding.what}"
        (found.problems if finding.severity == "error" else found.notes).append(line)
    if not new.cases_file.is_file():
        found.problems.append(
            f"there are no cases; write what the policy must do in {plain(str(new.cases_file), folder)}"
        )
        return
    tried = try_cases(new)
    found.cases = tried.cases + tried.decisions
    found.problems += [str(failure) for failure in tried.failures] + tried.gaps


def _prove(found: _Found, old: PolicyFolder, new: PolicyFolder, engine: Engine) -> None:
    """Invariants, what is held in vain, and the diff; RulesError without the prover: nothing is proved, so nothing passes."""
    day = engine.day(engine.home.now())
    if new.invariants_file.is_file():
        answer = prove_answer(new, day)
        found.invariants = sum(proof.outcome == "proved" for proof in answer.proofs)
        found.problems += [f"invariant `{proof.invariant}` is {proof.outcome}: {proof.title}; {proof.words}"
                           for proof in answer.proofs if proof.outcome != "proved"]  # fmt: skip
        found.notes += vain_lines(answer)
    else:
        found.notes.append("no invariants are stated: nothing is proved of this policy")
    diff = diff_answer(old, new, day)
    found.only_tightens = diff.only_tightens
    found.allowed += allowed_lines(diff)
    found.suppressed += suppressed_lines(diff)
    found.notes += [f"undecided, so not proved: {name}" for name in diff.undecided]


def _changed(before: Engine, after: Engine) -> list[str]:
    """What is written differently in policy, catalogue and campaigns, field by field."""
    at = before.home.now()
    lines = changed_text(before.terms(at), after.terms(at))
    for name in {**before.campaigns, **after.campaigns}:
        was, now = before.campaigns.get(name), after.campaigns.get(name)
        if was is None or now is None:
            lines.append(f"campaign `{name}` {'added' if was is None else 'removed'}")
        elif was != now:
            left, right = (one.model_dump(mode="json", by_alias=True) for one in (was, now))
            lines += [f"campaign `{name}` {line}" for line in changed_fields(left, right)]
    return lines


def _impact(before: Engine, after: Engine, ledger: Ledger) -> list[str]:
    """The impact on the newest snapshot, as counted now."""
    at = before.home.now()
    if before.snapshot(at) is None:
        return []
    inputs = read_inputs(before, ledger, at, None)
    later = replace(inputs, engine=after, terms=after.terms(at, inputs.terms.paused))
    cells = [[(o.id, c.id) for o in one.catalogue.offers for c in one.catalogue.channels] for one in (before, after)]
    scored = not inputs.degraded and cells[0] == cells[1]

    def rows() -> Iterator[Rows]:
        pairs = zip(chunks(inputs), chunks(later), strict=True)
        for was, now in islice(pairs, IMPACT_CHUNKS_MAX):
            scores = before.score(now, _open(was, inputs.terms) | _open(now, later.terms)) if scored else None
            yield Rows(was, scores, now)

    found = impact(inputs.terms, later.terms, rows())
    n = inputs.features.num_rows
    more = [f"counted on the first {found.customers:,} of {n:,} customers"] if found.customers < n else []
    return [*impact_lines(found, scored=scored), *more]


def _open(customers: pa.RecordBatch, terms: Terms) -> np.ndarray:
    return suppress(customers, terms).open


def plain(message: str, *folders: Path) -> str:
    """A message about files laid out in a folder, without the folder."""
    for folder in folders:
        message = message.replace(f"{folder}/", "")
    return re.sub(r"/\S*/nbo-set-[^/\s`]+/", "", message)
