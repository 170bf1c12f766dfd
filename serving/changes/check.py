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

from rules.diff import changed_items, changed_text
from rules.errors import RulesError
from rules.folder import PolicyFolder, find_policies
from rules.impact import Rows, impact
from rules.line import Line
from rules.lint import Severity, lint
from rules.liveset import Files, laid_out
from rules.proof_answers import diff_answer, prove_answer
from rules.proof_lines import (
    allowed_lines,
    impact_lines,
    suppressed_lines,
    undecided_lines,
    unproved_lines,
    vain_lines,
)
from rules.review import Kind
from rules.suppress import suppress
from rules.terms import Terms
from rules.tried import try_cases
from serving.engine import Engine
from serving.http.messages.base import Words
from serving.http.messages.change import CheckReport
from serving.ledger.book import Ledger
from serving.lists.batch import chunks, read_inputs

LINES_MAX = 100  # of one list of a report
_SEVERITIES_ZH: dict[Severity, str] = {"error": "错误", "warning": "警告", "note": "提示"}
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
                    found.problems.append(Line.alike(plain(str(error), there, here)))
        found.text += [_file_line(name, base, made) for name in sorted(names)]
        found.notes += _expired(before, after)
        found.impact += _impact(before, after, ledger)
    return found.report()


def _file_line(name: str, base: Files, made: Files) -> Line:
    en, zh = (
        ("removed", "已删除") if name not in made else ("added", "新增") if name not in base else ("changed", "已修改")
    )
    return Line(en=f"{name}: {en}", zh=f"{name}：{zh}")


class _Found:
    """What has been found so far."""

    def __init__(self, names: frozenset[str], base: Files, made: Files) -> None:
        self.problems: list[Line] = []
        self.text: list[Line] = []
        self.notes: list[Line] = []
        self.impact: list[Line] = []
        self.allowed: list[Line] = []
        self.suppressed: list[Line] = []
        self.cases = self.invariants = 0
        self.only_tightens: bool | None = None
        for name in sorted(names):
            if name in base and name not in made and name.endswith((".cases.yaml", ".invariants.yaml")):
                self.problems.append(
                    Line(
                        en=f"{name} goes: what was tried and proved may be changed, not dropped",
                        zh=f"{name} 被删除：用例和不变式可以修改，不可整份删除",
                    )
                )

    def report(self) -> CheckReport:
        """The report; long lists are cut, and say so."""
        return CheckReport(
            passed=not self.problems, problems=_cut(self.problems), text=_cut(self.text), cases=self.cases,
            invariants=self.invariants, only_tightens=self.only_tightens, newly_allowed=_cut(self.allowed),
            newly_suppressed=_cut(self.suppressed), notes=_cut(self.notes), impact=_cut(self.impact))  # fmt: skip


def _cut(lines: list[Line]) -> tuple[Words, ...]:
    over = len(lines) - LINES_MAX
    more = [Line(en=f"and {over:,} more", zh=f"另有 {over:,} 条")] if over > 0 else []
    return tuple(Words(en=line.en, zh=line.zh) for line in (*lines[:LINES_MAX], *more))


def _policy(folder: Path, engine: Engine) -> PolicyFolder:
    """The one policy of the folder, its rules over the features of the home."""
    [found] = find_policies(folder, folder)
    return replace(found, given=pa.schema([field for field in engine.store.schema if field.metadata]))


def _try(found: _Found, new: PolicyFolder, folder: Path) -> None:
    """Lint and cases."""
    for finding in lint(new.unchecked, new.catalogue, new.columns, new.document):
        part = f"`{finding.part}`" if finding.part else ""
        severity = _SEVERITIES_ZH[finding.severity]
        line = Line(
            en=f"{finding.severity}: {f'{part}: ' if part else ''}{finding.what.en}",
            zh=f"{severity}：{f'{part}：' if part else ''}{finding.what.zh}",
        )
        (found.problems if finding.severity == "error" else found.notes).append(line)
    if not new.cases_file.is_file():
        file = plain(str(new.cases_file), folder)
        found.problems.append(
            Line(
                en=f"there are no cases; write what the policy must do in {file}",
                zh=f"没有用例；请在 {file} 写明规则应有的结果",
            )
        )
        return
    tried = try_cases(new)
    found.cases = tried.cases + tried.decisions
    found.problems += [failure.line for failure in tried.failures] + tried.gaps


def _prove(found: _Found, old: PolicyFolder, new: PolicyFolder, engine: Engine) -> None:
    """Invariants, what is held in vain, and the diff; RulesError without the prover: nothing is proved, so nothing passes."""
    day = engine.day(engine.home.now())
    if new.invariants_file.is_file():
        answer = prove_answer(new, day)
        found.invariants = sum(proof.outcome == "proved" for proof in answer.proofs)
        found.problems += unproved_lines(answer)
        found.notes += vain_lines(answer)
    else:
        found.notes.append(
            Line(en="no invariants are stated: nothing is proved of this policy", zh="未陈述不变式：对此规则不作证明")
        )
    diff = diff_answer(old, new, day)
    found.only_tightens = diff.only_tightens
    found.allowed += allowed_lines(diff)
    found.suppressed += suppressed_lines(diff)
    found.notes += undecided_lines(diff)


def _changed(before: Engine, after: Engine) -> list[Line]:
    """What is written differently in policy, catalogue and campaigns, field by field."""
    at = before.home.now()
    return [
        *changed_text(before.terms(at), after.terms(at)),
        *changed_items(("campaign", "活动"), before.campaigns, after.campaigns),
    ]


def _expired(before: Engine, after: Engine) -> list[Line]:
    """The wordings of new and changed campaigns that have expired by now: their cells are closed."""
    day = before.day(before.home.now())
    return [
        Line(en=f"campaign `{one.id}`: treatment `{treatment.id}` expired on {treatment.expires_on}; what it words stays closed until it is renewed",
             zh=f"活动 `{one.id}`：话术 `{treatment.id}` 已于 {treatment.expires_on} 过期；续批之前其组合保持关闭")
        for one in after.campaigns.values() if one != before.campaigns.get(one.id)
        for treatment in one.treatments if treatment.expires_on < day
    ]  # fmt: skip


def _impact(before: Engine, after: Engine, ledger: Ledger) -> list[Line]:
    """The impact on the newest snapshot, as counted now."""
    at = before.home.now()
    if before.snapshot(at) is None:
        return []
    inputs = read_inputs(before, ledger, at, None, also=(after.terms(at),))
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
    cut = Line(en=f"counted on the first {found.customers:,} of {n:,} customers",
               zh=f"按前 {found.customers:,} 位客户统计，共 {n:,} 位")  # fmt: skip
    return [*impact_lines(found, scored=scored), *([cut] if found.customers < n else [])]


def _open(customers: pa.RecordBatch, terms: Terms) -> np.ndarray:
    return suppress(customers, terms).open


def plain(message: str, *folders: Path) -> str:
    """A message about files laid out in a folder, without the folder."""
    for folder in folders:
        message = message.replace(f"{folder}/", "")
    return re.sub(r"/\S*/nbo-set-[^/\s`]+/", "", message)
