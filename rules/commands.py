"""`nbo rules check | cases | show | columns` (and `rules.proof_commands`): what an officer asks of a policy before anybody runs it.

Exit 0: nothing wrong. 1: findings, failing cases. 2: the files cannot be read, one line says where.
"""

import sys
from dataclasses import asdict
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from rules import proof_commands
from rules.column import MEANINGS, columns_text, meaning
from rules.document import did_you_mean
from rules.errors import PolicyError
from rules.folder import PolicyFolder, find_policies
from rules.language import Language
from rules.lint import Severity, lint
from rules.policy import with_state
from rules.rule import Rule, Stated
from rules.sentence import Tongue, scope_sentence, sentence
from rules.sql import condition_sql
from rules.tree import fold
from rules.trial import Failure
from rules.tried import try_cases

app = typer.Typer(
    name="rules", help="The contact policy: check it, try its cases, prove it, read it.", no_args_is_help=True
)
proof_commands.mount(app)

Folder = Annotated[
    Path | None, typer.Argument(help="Folder of a policy, or a home. None: the home's, else the shipped one.")
]
_NAMES = {
    "en": ("where", "condition", "layer and reason", "source", "in force"),
    "zh": ("范围", "条件", "层级与原因", "依据", "生效期"),
}
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


class FindingAnswer(BaseModel):
    """One finding: severity, part, place, and what to mend."""

    severity: Severity
    part: str
    file: str
    line: int
    what: str


class CheckAnswer(BaseModel):
    """`nbo rules check --json`: the policies checked (file -> revision) and what was found; ok: exit 0."""

    ok: bool
    policies: dict[str, str]
    parts: int
    findings: list[FindingAnswer]


class FailureAnswer(BaseModel):
    """One case that does not hold: the cell, what was expected, what was found, and who said so."""

    case: str
    about: str
    cell: str
    expected: list[str]
    found: list[str]
    rules: list[str]


class CasesAnswer(BaseModel):
    """`nbo rules cases --json`: how many cases were tried, which fail, what no case shows; ok: exit 0."""

    ok: bool
    files: list[str]
    cases: int
    decisions: int
    failures: list[FailureAnswer]
    gaps: list[str]


class RuleAnswer(BaseModel):
    """One rule of the part as it runs: the sentence, where it holds, the condition, its SQL per residual."""

    sentence: str
    scope: str
    when: str
    sql: list[str]


class ShowAnswer(BaseModel):
    """`nbo rules show RULE --json`: the part as people read it, in one language."""

    id: str
    file: str
    line: int
    layer: str
    reason: str
    title: str
    explanation: str
    source: str
    owner: str
    effective_from: str | None
    effective_to: str | None
    rules: list[RuleAnswer]


class ColumnsAnswer(BaseModel):
    """`nbo rules columns --json`: the home's feature columns with their declared meaning."""

    columns: list[dict[str, str]]


class Tongues(StrEnum):
    """The languages of the house."""

    EN = "en"
    ZH = "zh"


@app.command("check")
def check(context: typer.Context, folder: Folder = None,
          on: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day rules must not be over; today.")] = None,
          as_json: AsJson = False) -> None:  # fmt: skip
    """Load, type-check and lint a policy; exit 1 where an error or a warning is found."""
    day = (on or datetime.now(UTC)).date()
    found: list[FindingAnswer] = []
    policies = find_policies(folder, context.obj)
    for one in policies:
        found += [FindingAnswer(severity=f.severity, part=f.part, file=str(one.policy_file), line=f.line, what=f.what.en)
                  for f in lint(one.unchecked, one.catalogue, one.columns, one.document, day)]  # fmt: skip
    bad = [f for f in found if f.severity != "note"]
    answer = CheckAnswer(ok=not bad, policies={str(p.policy_file): p.unchecked.revision for p in policies},
                         parts=sum(len(p.unchecked.parts) for p in policies), findings=found)  # fmt: skip
    lines = [f"{f.file}:{f.line}: {f.severity}: {f'`{f.part}`: ' if f.part else ''}{f.what}" for f in found]
    lines += [
        f"{', '.join(answer.policies)}: {answer.parts} parts, {len(bad) or 'no'} finding{'' if len(bad) == 1 else 's'}"
    ]
    _tell(answer, as_json, lines, ok=answer.ok)


@app.command("cases")
def cases(context: typer.Context, folder: Folder = None, as_json: AsJson = False) -> None:
    """Try every case of a policy; exit 1 where one does not hold, or a part has too few cases."""
    answer = CasesAnswer(ok=True, files=[], cases=0, decisions=0, failures=[], gaps=[])
    failed: list[Failure] = []
    for one in find_policies(folder, context.obj):
        if not one.cases_file.is_file():
            if folder is None:
                raise PolicyError("has no cases; write what the policy must do beside it", file=str(one.cases_file))
            continue
        tried = try_cases(one)
        failed += tried.failures
        answer.files.append(str(one.cases_file))
        answer.cases += tried.cases
        answer.decisions += tried.decisions
        answer.gaps += map(str, tried.gaps)
    if not answer.files:
        raise PolicyError("holds no cases; write <id>.cases.yaml beside the policy", file=str(folder))
    answer.failures = [FailureAnswer.model_validate(asdict(failure)) for failure in failed]
    answer.ok = not answer.failures and not answer.gaps
    lines = list(map(str, failed)) + answer.gaps
    lines += [
        f"{', '.join(answer.files)}: {answer.cases} cases and {answer.decisions} decisions, {len(answer.failures)} failed"
    ]
    _tell(answer, as_json, lines, ok=answer.ok)


@app.command("show")
def show(context: typer.Context, rule: Annotated[str, typer.Argument(help="The id of a rule, cap, pause ...")],
         folder: Folder = None, lang: Annotated[Tongues, typer.Option(help="The language of the words.")] = Tongues.EN,
         as_json: AsJson = False) -> None:  # fmt: skip
    """Read one part of a policy: its sentence, where it holds, why, and how it runs."""
    policies = find_policies(folder, context.obj)
    known = {part.id: (one, part) for one in reversed(policies) for part in one.policy.parts}
    if rule not in known:
        raise PolicyError(f"no rule `{rule}`{did_you_mean(rule, known)}", file=str(policies[0].policy_file))
    one, part = known[rule]
    answer = shown(one, part, lang.value)
    names = _NAMES[lang.value]
    lines = [f"{answer.id}  {answer.title}", answer.explanation, *[line for r in answer.rules for line in (
        f"  {r.sentence}", f"  {names[0]}: {r.scope}", f"  {names[1]}: {r.when}")]]  # fmt: skip
    lines += [f"  {names[2]}: {answer.layer} / {answer.reason}", f"  {names[3]}: {answer.source} ({answer.owner})",
              f"  {names[4]}: {answer.effective_from or '...'} - {answer.effective_to or '...'}", f"  {answer.file}:{answer.line}"]  # fmt: skip
    _tell(answer, as_json, [line for line in lines if line], ok=True)


def shown(one: PolicyFolder, part: Stated, tongue: Tongue) -> ShowAnswer:
    """One part of a policy as people read it."""
    language = Language(with_state(one.columns, one.policy, one.catalogue), one.catalogue)
    lowered = [rule for rule in one.policy.lowered(one.catalogue) if rule.id == part.id]
    rules = [RuleAnswer(sentence=sentence(rule, language, tongue), scope=scope_sentence(rule, one.catalogue, tongue),
                        when=rule.when, sql=sql_of(rule, language)) for rule in lowered]  # fmt: skip
    said = part.explanation
    return ShowAnswer(
        id=part.id, file=str(one.policy_file), line=one.document.line_of(part.id), layer=str(part.reason.layer),
        reason=part.reason.slug, title=getattr(part.title, tongue), explanation=getattr(said, tongue) if said else "",
        source=part.source, owner=part.owner, effective_from=_day(part.effective.from_),
        effective_to=_day(part.effective.to), rules=rules)  # fmt: skip


def sql_of(rule: Rule, language: Language) -> list[str]:
    """The rule's distinct conditions over the audit twin's customers, once the cells are put in."""
    node, bits = language.parse(rule.when), rule.scope.cells(language.catalogue)
    folded = (fold(node, facts) for cell, facts in enumerate(language.cells) if bits >> cell & 1)
    return [condition_sql(residual) for residual in dict.fromkeys(folded)]


@app.command("columns")
def columns(context: typer.Context, as_json: AsJson = False) -> None:
    """Print the feature columns of the home as a columns file, what rules may read."""
    [one, *_] = find_policies(None, context.obj)
    if one.home is None:
        raise PolicyError("there is no home with features here; name one with nbo --home DIR")
    told = one.columns
    answer = ColumnsAnswer(columns=[{"name": f.name, "type": str(f.type)} | {key: meaning(f, key) for key in MEANINGS} for f in told])  # fmt: skip
    _tell(answer, as_json, [columns_text(told).rstrip()], ok=True)


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _tell(answer: BaseModel, as_json: bool, lines: list[str], *, ok: bool) -> None:
    sys.stdout.write((answer.model_dump_json() if as_json else "\n".join(lines)) + "\n")
    if not ok:
        raise typer.Exit(1)
