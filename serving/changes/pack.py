"""The compliance pack: what an auditor asks for, of one month, in one folder that needs nothing else.

Rules as sentences in both languages, the cases that were tried and the invariants that were proved today, who
approved what and when, what the rules kept from customers and what that cost, and what is open. The page is
`index.html` (it prints), the figures are `pack.json`, the files in force stand in `set/`, and `manifest.json`
has the hash of each. No customer is named.
"""

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import pyarrow as pa
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.engine import Connection

from rules.catalogue import Words
from rules.folder import PolicyFolder, find_policies
from rules.line import Line
from rules.liveset import Files, files_in, laid_out
from rules.proof_answers import prove_answer
from rules.proof_lines import vain_lines
from rules.prove import ProverMissingError
from rules.reasons import ReasonCode
from rules.review import State
from rules.tried import try_cases
from serving.changes.check import plain
from serving.changes.desk import Desk
from serving.changes.live import drafts
from serving.changes.rulebook import PackCase, PackCost, PackRule, cases_of, costs_of, rules_of
from serving.engine import Engine
from serving.http.messages.change import ChangeResponse
from serving.ledger import changes
from serving.ledger.book import Ledger, micros
from serving.ledger.schema import decisions
from serving.ledger.switches import paused
from serving.lists.words import REASONS

ENDS_SOON = timedelta(days=30)


class PackError(ValueError):
    """The pack cannot be written; one line."""


class PackProof(BaseModel):
    """One invariant as proved today. words: who breaks it, or why it is not known."""

    id: str
    title: Line
    outcome: str
    seconds: float
    words: Line


class PackSilence(BaseModel):
    """How often a reason was met by the month's decisions of the service."""

    reason: str
    words: Words
    decisions: int


class Pack(BaseModel):
    """Everything the page shows. month: first day; made_at: when; money in minor units of `currency`."""

    bank: str
    month: date
    made_at: datetime
    currency: str
    revision: str | None
    title: Words
    rules: list[PackRule]
    cases: list[PackCase]
    cases_failed: list[Line]
    proofs: list[PackProof]
    proof_note: str
    vain: list[Line]
    changes: list[ChangeResponse]
    costs: list[PackCost]
    lists: list[str]
    silences: list[PackSilence]
    n_decisions: int
    exceptions: list[Words]
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """What a pack is made from."""

    engine: Engine
    ledger: Ledger
    connection: Connection
    files: Files
    month: date
    now: int


def make_pack(engine: Engine, ledger: Ledger, month: date) -> tuple[Pack, dict[str, str]]:
    """The pack of a month, and the files in force; reads only. Takes seconds: cases and proofs run anew."""
    with ledger.read() as connection:
        now = ledger.now_micros()
        revision = changes.revision_in_force(connection, now)
        files = files_in(engine.home.path) if revision is None else changes.files_of(connection, revision)
        source = _Source(engine, ledger, connection, files, month, now)
        with laid_out(files) as folder:
            [found] = find_policies(folder, folder)
            one = replace(found, given=pa.schema([f for f in engine.store.schema if f.metadata]))
            pack = _pack(source, one, revision)
    return pack, dict(files)


def _pack(source: _Source, one: PolicyFolder, revision: str | None) -> Pack:
    engine, titles = source.engine, {part.id: part.title for part in one.policy.parts}
    cases, failed = cases_of(one), _failed(one)
    proofs, note, vain = _proofs(one, engine.day(engine.home.now()))
    desk = Desk(engine, source.connection, source.ledger.secret, source.now)
    told = [desk.shown(change.change_id) for change in desk.listed().changes]
    costs, lists = costs_of(engine.home.lists, *_span(source), titles)
    silences, n_decisions = _silences(source)
    rules = rules_of(one, cases)
    return Pack(
        bank=engine.home.settings.name, month=source.month, made_at=engine.home.now(), currency=engine.catalogue.base_currency,
        revision=revision, title=one.policy.title, rules=rules, cases=cases, cases_failed=failed, proofs=proofs, proof_note=note,
        vain=vain, changes=told, costs=costs, lists=lists, silences=silences, n_decisions=n_decisions,
        exceptions=_exceptions(source, one, told, failed, proofs, note), assumptions=engine.assumptions)  # fmt: skip


def _failed(one: PolicyFolder) -> list[Line]:
    """The cases that fail today, and what has none."""
    tried = try_cases(one) if one.cases_file.is_file() else None
    return [] if tried is None else [*(failure.line for failure in tried.failures), *tried.gaps]


def _proofs(one: PolicyFolder, day: date) -> tuple[list[PackProof], str, list[Line]]:
    """(the invariants as proved now, why not, what is held in vain)."""
    if not one.invariants_file.is_file():
        return [], "no invariants are stated", []
    try:
        answer = prove_answer(one, day)
    except ProverMissingError as error:
        return [], str(error), []
    told = [PackProof(id=p.invariant, title=p.title, outcome=p.outcome, seconds=p.seconds, words=p.words)
            for p in answer.proofs]  # fmt: skip
    return told, "", vain_lines(answer)


def _span(source: _Source) -> tuple[datetime, datetime]:
    """The month in the bank's zone, as instants."""
    tz, first = source.engine.home.settings.tz, source.month
    following = (first + timedelta(days=31)).replace(day=1)
    begin, end = (datetime.combine(day, time(), tz).astimezone(UTC) for day in (first, following))
    return begin, end


def _silences(source: _Source) -> tuple[list[PackSilence], int]:
    """How often the service's decisions of the month met each reason; only those left without an offer tell theirs."""
    begin, end = map(micros, _span(source))
    found: Counter[str] = Counter()
    n_decisions = 0
    query = select(decisions.c.reasons).where(decisions.c.as_of >= begin, decisions.c.as_of < end)
    for (reasons,) in source.connection.execute(query.execution_options(yield_per=1_000)):
        found.update(json.loads(reasons))
        n_decisions += 1
    told = [PackSilence(reason=slug, words=Words(en=REASONS[ReasonCode.of(slug)][0], zh=REASONS[ReasonCode.of(slug)][1]), decisions=n)
            for slug, n in found.most_common()]  # fmt: skip
    return told, n_decisions


def _exceptions(source: _Source, one: PolicyFolder, told: list[ChangeResponse], failed: list[Line], proofs: list[PackProof],
                note: str) -> list[Words]:  # fmt: skip
    """What is not as it should be, or not yet."""
    found: list[Words] = []

    def add(en: str, zh: str) -> None:
        found.append(Words(en=en, zh=zh))

    for change in told:
        if change.state is State.BOOTED:
            add(
                f"the first set, of {change.author}, has not been approved by a second person",
                f"首个版本（{change.author}）尚未由第二人批准",
            )
        if change.state in (State.PROPOSED, State.CHECKED, State.FAILED, State.APPROVED):
            add(
                f"change {change.change_id} of {change.author} is {change.state}",
                f"变更 {change.change_id}（{change.author}）状态：{change.state}",
            )
    for step in changes.unsigned(source.connection, source.ledger.secret):
        add(f"step {step} of the changes does not bear its signature", f"变更步骤 {step} 签名不符")
    if not told:
        add("nothing is in force yet: nobody has decided", "尚无生效版本")
    for name in drafts(source.engine, source.connection, source.now):
        add(f"{name} in the home is a draft that is not in force", f"{name} 为尚未生效的草稿")
    for line in failed:
        add(f"a case does not hold: {line}", f"用例不成立：{line.zh}")
    for proof in proofs:
        if proof.outcome != "proved":
            add(f"not proved: {proof.title.en}", f"未能证明：{proof.title.zh}")
    if note:
        add(f"nothing is proved: {plain(note)}", f"未作证明：{plain(note)}")
    for scope in sorted(paused(source.connection)):
        add(f"{scope} is paused", f"{scope} 已暂停")
    today = source.engine.day(source.engine.home.now())
    for part in one.policy.parts:
        if part.effective.to is not None and part.effective.to < today + ENDS_SOON:
            add(f"{part.id} ends on {part.effective.to}", f"{part.id} 于 {part.effective.to} 失效")
    for problem in source.engine.problems(source.engine.home.now()):
        add(f"marketing is silent: {problem}", f"营销静默：{problem}")
    return found
