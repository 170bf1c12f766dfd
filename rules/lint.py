"""Lint: what loads and type-checks, but is not what its author can have meant.

Each finding names file, line and part. Errors: a rule that can open on missing data, can never
fire, reads a column that is not there, holds no cell. Warnings: a rule that always fires, or always
closes a cell as unknown; a literal that decides nothing; a rule that is over. Notes: what is worth
adding. Dead and shadowed rules among rules that can fire are the prover's business.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice, product
from math import inf, nextafter
from typing import Literal as Is

import pyarrow as pa

from rules.catalogue import Catalogue
from rules.closures import closure
from rules.column import meaning
from rules.document import Document, did_you_mean
from rules.errors import PolicyError
from rules.language import Language
from rules.line import Line
from rules.policy import ContactPolicy, with_state
from rules.rule import Rule
from rules.sql import condition_text
from rules.tree import (
    COMPARE,
    FALSE,
    TRUE,
    All,
    Any,
    CellField,
    Column,
    Compare,
    IsNull,
    Literal,
    Node,
    Not,
    OneOf,
    Scalar,
    columns_of,
    fold,
    walk,
)  # fmt: skip

Severity = Is["error", "warning", "note"]
ROWS_MAX = 4_000  # rows tried when looking for one that opens


@dataclass(frozen=True)
class Finding:
    """One thing to mend. part: the id of the rule, cap or pause; line: of the file, from 1."""

    severity: Severity
    part: str
    line: int
    what: Line


def lint(policy: ContactPolicy, catalogue: Catalogue, columns: pa.Schema, document: Document,
         day: date | None = None) -> list[Finding]:  # fmt: skip
    """Everything found, in the order of the file. columns: of the features. day: today, for rules that are over."""
    try:
        vocabulary = with_state(columns, policy, catalogue)
    except PolicyError as error:
        return [Finding("error", "", 1, Line.alike(error.what))]
    lowered: dict[str, list[Rule]] = defaultdict(list)
    for rule in policy.lowered(catalogue):
        lowered[rule.id].append(rule)
    language = Language(vocabulary, catalogue)
    found: list[Finding] = []
    for part in policy.parts:
        line = document.line_of(part.id)
        for severity, what in _stated(part.effective.from_, part.effective.to, part.explanation is None, day):
            found.append(Finding(severity, part.id, line, what))
        if not lowered[part.id]:
            what = Line(
                en="governs no offer of the catalogue; widen it or remove it", zh="不涉及目录中的任何产品；请放宽或删除"
            )
            found.append(Finding("error", part.id, line, what))
        seen: set[Line] = set()
        for rule in lowered[part.id]:
            for severity, what in _rule(rule, language):
                if what not in seen:
                    seen.add(what)
                    found.append(Finding(severity, part.id, line, what))
    return found


def _found(severity: Severity, en: str, zh: str) -> tuple[Severity, Line]:
    return severity, Line(en=en, zh=zh)


def _stated(begins: date | None, ends: date | None, plain: bool, day: date | None) -> Iterator[tuple[Severity, Line]]:
    if begins and ends and ends < begins:
        yield _found(
            "error",
            f"effective from {begins} to {ends}: it is never in force; mend one of the two",
            f"生效期为 {begins} 至 {ends}：永不生效；请改正其一",
        )
    elif ends and day and ends < day:
        yield _found("warning", f"ended on {ends}; remove it or prolong it", f"已于 {ends} 终止；请删除或延期")
    if plain:
        yield _found(
            "note", "has no explanation; say in two sentences why it is there", "没有说明；请用两句话写明其缘由"
        )


def _rule(rule: Rule, language: Language) -> Iterator[tuple[Severity, Line]]:
    for kind, name, known in rule.scope.unknown_names(language.catalogue):
        near = did_you_mean(name, known)
        yield _found("error", f"unknown {kind} `{name}`{near}", f"未知的 {kind} `{name}`{near}")
    try:
        node = language.parse(rule.when)
    except PolicyError as error:
        yield "error", Line.alike(error.what)
        return
    bits = rule.scope.cells(language.catalogue)
    cells = [facts for cell, facts in enumerate(language.cells) if bits >> cell & 1]
    if not cells:
        if not rule.scope.unknown_names(language.catalogue):
            yield _found(
                "error",
                "its scope holds no cell; families, offers and channels exclude each other",
                "其范围内没有任何单元；产品系列、产品与渠道相互排斥",
            )
        return
    residuals = [fold(node, facts) for facts in cells]
    missing = sorted({name for residual in residuals for name in columns_of(residual)} - set(language.columns.names))
    if missing:
        near = did_you_mean(missing[0], language.columns.names)
        yield _found(
            "error",
            f"no column `{missing[0]}`{near}; narrow the scope or add the feature",
            f"没有 `{missing[0]}` 列{near}；请缩小范围，或添加该特征",
        )
        return
    yield from _constant(residuals, cells)
    yield from _unreachable(node, cells, language)
    if opened := opens_on_missing(node, residuals, language.columns):
        yield "error", opened


def _constant(residuals: list[Node], cells: list[dict[str, Scalar]]) -> Iterator[tuple[Severity, Line]]:
    if all(residual == FALSE for residual in residuals):
        yield _found(
            "error",
            "never fires: its condition is FALSE in every cell of its scope",
            "永不触发：在其范围内的每个单元，条件均为 FALSE",
        )
    if all(residual == TRUE for residual in residuals):
        yield _found(
            "warning",
            "always fires: its condition is TRUE in every cell of its scope; pause the cells instead",
            "总是触发：在其范围内的每个单元，条件均为 TRUE；请改为暂停这些单元",
        )
    unknown = sorted({str(facts["offer.id"]) for facts, residual in zip(cells, residuals, strict=True)
                      if isinstance(residual, Literal) and residual.value is None})  # fmt: skip
    if unknown:
        named = ", ".join(f"`{name}`" for name in unknown)
        yield _found(
            "warning",
            f"is always unknown, so always closes, for {named}: it lacks what is asked; narrow the scope",
            f"对 {named} 恒为未知，因而总是关闭：缺少所问的内容；请缩小范围",
        )


def _unreachable(node: Node, cells: list[dict[str, Scalar]], language: Language) -> Iterator[tuple[Severity, Line]]:
    """Comparisons with a literal that come out alike for every cell, or every value of the column's domain."""
    for part in walk(node):
        if not isinstance(part, Compare | OneOf):
            continue
        for single in [OneOf(part.item, (value,)) for value in part.values] if isinstance(part, OneOf) else [part]:
            said = condition_text(single)
            if any(isinstance(inner, CellField) for inner in walk(single)) and not columns_of(single):
                truths = {fold(single, facts) for facts in cells}
                if TRUE not in truths:
                    yield _found(
                        "warning",
                        f"`{said}` is true in no cell of its scope; mend it or remove it",
                        f"`{said}` 在其范围内的任何单元都不成立；请改正或删除",
                    )
            elif isinstance(single, Compare) and (value := _outside(single, language)) is not None:
                truth = "TRUE" if value else "FALSE"
                yield _found(
                    "warning",
                    f"`{said}` is {truth} for every value the column can take",
                    f"对该列的任何取值，`{said}` 均为 {truth}",
                )


def _outside(part: Compare, language: Language) -> bool | None:
    """The constant answer of `column op number` over the column's declared range; None: it depends."""
    if (
        not isinstance(part.left, Column)
        or not isinstance(part.right, Literal)
        or not isinstance(part.right.value, float)
    ):
        return None
    domain = meaning(language.field(part.left.name), "domain")
    if domain[:1] not in ("[", "(") or "," not in domain:
        return None
    low, high = (float(end) if end else None for end in domain[1:-1].split(","))
    value = part.right.value
    probes = [value - 1, value, value + 1] if low is None else [low, value - 1, value, value + 1]
    if high is not None:
        probes.append(high if domain.endswith("]") else nextafter(high, -inf))
    inside = [
        p
        for p in probes
        if (low is None or p >= low) and (high is None or p < high or (p == high and domain.endswith("]")))
    ]
    answers = {COMPARE[part.op](probe, value) for probe in inside}
    return answers.pop() if len(answers) == 1 else None


def opens_on_missing(node: Node, residuals: list[Node], columns: pa.Schema) -> Line | None:
    """How nulling a column could open a cell; None where it cannot.

    Kleene's AND, OR, NOT and comparisons only ever turn a known truth into UNKNOWN when a fact is
    lost, and UNKNOWN closes. Only IS NULL under a NOT can turn to FALSE; where there is one, rows of
    critical values are tried until one opens.
    """
    if not any(_negated_null(residual, negated=False) for residual in {node, *residuals}):
        return None
    for residual in dict.fromkeys(residuals):
        names = sorted(columns_of(residual))
        test = closure(residual)
        choices = [_critical(residual, name, columns) for name in names]
        for values in islice(product(*choices), ROWS_MAX):
            row = dict(zip(names, values, strict=True))
            if test(row) is False:
                continue
            for name in names:
                if row[name] is not None and test(row | {name: None}) is False:
                    shown = ", ".join(f"{key} = {value}" for key, value in row.items())
                    return Line(
                        en=f"opens on missing data: closed where {shown}, open once `{name}` is not known; drop the IS NOT NULL",
                        zh=f"数据缺失时放行：{shown} 时关闭，`{name}` 未知时却开放；请去掉 IS NOT NULL",
                    )
    return None


def _negated_null(node: Node, *, negated: bool) -> bool:
    if isinstance(node, IsNull):
        return negated or _negated_null(node.item, negated=negated)
    if isinstance(node, Not):
        return _negated_null(node.item, negated=not negated)
    return any(_negated_null(item, negated=negated) for item in node.items) if isinstance(node, All | Any) else False


def _critical(node: Node, name: str, columns: pa.Schema) -> list[Scalar]:
    """Values of the column at which the condition can change, and null."""
    field = columns.field(name)
    if pa.types.is_boolean(field.type):
        return [True, False, None]
    if pa.types.is_string(field.type):
        texts = {
            value for part in walk(node) if isinstance(part, OneOf) for value in part.values if isinstance(value, str)
        }
        texts |= {part.value for part in walk(node) if isinstance(part, Literal) and isinstance(part.value, str)}
        return [*sorted(texts), "another", None]
    numbers = {part.value for part in walk(node) if isinstance(part, Literal) and isinstance(part.value, float)}
    numbers |= {
        value for part in walk(node) if isinstance(part, OneOf) for value in part.values if isinstance(value, float)
    }
    return [*sorted({0.0} | numbers | {n + 1 for n in numbers} | {n - 1 for n in numbers}), None]
