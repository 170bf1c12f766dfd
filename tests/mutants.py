"""Changed policies, one careless edit each: what the cases must catch.

Rules are changed in their tree and scope, typed parts in the fields the file sets. Each mutant is
(layer, part id, what was changed, policy).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa

from rules.catalogue import Catalogue, Frozen
from rules.column import meaning
from rules.language import Language
from rules.policy import ContactPolicy
from rules.reasons import ReasonCode
from rules.rule import Rule
from rules.sql import condition_text
from rules.tree import All, Arithmetic, Column, Compare, IsNull, Literal, Node, Not, OneOf  # fmt: skip
from rules.tree import Any as AnyOf

SECTIONS = ("rules", "caps", "cool_offs", "event_suppressions", "orders", "quiet_hours")
OTHERS = {"<": ("<=", ">", ">=", "="), "<=": ("<", ">", ">=", "="), ">": (">=", "<", "<=", "="), ">=": (">", "<", "<=", "="),
          "=": ("<>",), "<>": ("=",)}  # fmt: skip
LISTS = ("families", "offers", "channels", "outcomes", "currencies", "weekdays")
STATED = ("id", "reason", "title", "explanation", "source", "owner", "effective", "layer", "scope", "when")
SWAPS = {"level": ("person", "unit"), "about": ("family", "offer", "channel", "all"), "direction": ("outbound", "any")}


class Mutant(NamedTuple):
    """One changed policy."""

    layer: str
    part: str
    change: str
    policy: ContactPolicy


def mutants(policy: ContactPolicy, catalogue: Catalogue, vocabulary: pa.Schema) -> Iterator[Mutant]:
    """Every mutant, in the order of the file."""
    language = Language(vocabulary, catalogue)
    for section in SECTIONS:
        for place, part in enumerate(getattr(policy, section)):
            layer = str(ReasonCode(part.reason).layer)
            found = rule_changes(part, language) if isinstance(part, Rule) else typed_changes(part)
            for change, new in [("removed", None), *found]:
                kept = list(getattr(policy, section))
                kept[place : place + 1] = [] if new is None else [new]
                changed = policy.model_copy(update={section: tuple(kept)})
                changed.__dict__.pop("revision", None)  # a copy would carry the former content's hash along
                yield Mutant(layer, part.id, change, changed)


def rule_changes(rule: Rule, language: Language) -> Iterator[tuple[str, Rule]]:
    """(what, changed rule): condition, scope, direction."""
    node = language.parse(rule.when)
    for change, new in node_changes(node, language):
        yield change, rule.model_copy(update={"when": condition_text(new)})
    for name in ("families", "offers", "channels"):
        for entry in getattr(rule.scope, name):
            kept = tuple(one for one in getattr(rule.scope, name) if one != entry)
            yield f"{name} without {entry}", _scoped(rule, {name: kept})
    for direction in ("any", "outbound", "inbound"):
        if direction != rule.scope.direction:
            yield f"direction {direction}", _scoped(rule, {"direction": direction})


def _scoped(rule: Rule, change: dict[str, Any]) -> Rule:
    return rule.model_copy(update={"scope": rule.scope.model_copy(update=change)})


def node_changes(node: Node, language: Language) -> Iterator[tuple[str, Node]]:
    """(what, changed tree) for every node of the tree."""
    yield from _here(node, language)
    if isinstance(node, All | AnyOf):
        for place, item in enumerate(node.items):
            for change, new in node_changes(item, language):
                yield change, type(node)((*node.items[:place], new, *node.items[place + 1 :]))
    elif isinstance(node, Not | IsNull | OneOf):
        for change, new in node_changes(node.item, language):
            yield change, replace(node, item=new)
    elif isinstance(node, Compare | Arithmetic):
        for side in ("left", "right"):
            for change, new in node_changes(getattr(node, side), language):
                if not (isinstance(new, Not) and isinstance(node, Compare)):
                    yield change, replace(node, **{side: new})


def _here(node: Node, language: Language) -> Iterator[tuple[str, Node]]:
    if isinstance(node, All | AnyOf):
        other = AnyOf if isinstance(node, All) else All
        yield f"{type(node).__name__} -> {other.__name__}", other(node.items)
        for place in range(len(node.items)):
            left = (*node.items[:place], *node.items[place + 1 :])
            yield f"operand {place + 1} dropped", left[0] if len(left) == 1 else type(node)(left)
    if isinstance(node, Not):
        yield "NOT removed", node.item
    if isinstance(node, Compare):
        for op in OTHERS[node.op]:
            if op in ("=", "<>") or not isinstance(node.right, Literal) or node.right.kind == "number":
                yield f"{node.op} -> {op}", replace(node, op=op)
        yield from _literal_changes(node, language)
    if isinstance(node, OneOf):
        for value in node.values if len(node.values) > 1 else ():
            yield f"IN without {value}", OneOf(node.item, tuple(v for v in node.values if v != value))
        if isinstance(node.item, Column):
            for value in sorted(set(meaning(language.field(node.item.name), "domain").split("|")) - set(node.values)):
                yield f"IN with {value}", OneOf(node.item, (*node.values, value))
    if isinstance(node, Column) and node.kind == "bool":
        yield "NOT added", Not(node)
    if isinstance(node, IsNull):
        yield "IS NOT NULL", Not(node)


def _literal_changes(node: Compare, language: Language) -> Iterator[tuple[str, Node]]:
    item, literal = node.left, node.right
    if not isinstance(literal, Literal) or not isinstance(item, Column):
        if isinstance(literal, Literal) and isinstance(literal.value, float):
            for step in (-1.0, 1.0):
                yield f"{literal.value:g} {step:+g}", replace(node, right=Literal(literal.value + step, "number"))
        return
    field = language.field(item.name)
    if isinstance(literal.value, float):
        step = 0.01 if meaning(field, "unit") == "share" else 1.0
        for value in (literal.value - step, literal.value + step):
            yield f"{literal.value:g} -> {value:g}", replace(node, right=Literal(round(value, 6), "number"))
    elif isinstance(literal.value, str):
        for value in meaning(field, "domain").split("|"):
            if value != literal.value:
                yield f"'{literal.value}' -> '{value}'", replace(node, right=Literal(value, "text"))


def typed_changes(part: Frozen) -> Iterator[tuple[str, Frozen]]:
    """(what, changed part): numbers +-1 (shares +-0.01), shorter lists, other words, no early end."""
    for name in sorted(part.model_fields_set):
        value = getattr(part, name)
        if name in STATED:
            continue
        for change, new in _value_changes(name, value):
            yield f"{name} {change}", part.model_copy(update={name: new})
    if "level" in type(part).model_fields and "level" not in part.model_fields_set:
        yield "level unit", part.model_copy(update={"level": "unit"})
    if "direction" in type(part).model_fields and "direction" not in part.model_fields_set:
        yield "direction outbound", part.model_copy(update={"direction": "outbound"})


def _value_changes(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        step = 1 if isinstance(value, int) else 0.01
        for new in (value - step, value + step):
            yield f"{value} -> {round(new, 6)}", type(value)(round(new, 6))
    elif isinstance(value, tuple) and name in LISTS:
        for entry in value:
            if len(value) > 1:
                yield f"without {entry}", tuple(one for one in value if one != entry)
    elif isinstance(value, Frozen):
        for change, new in typed_changes(value):
            yield change, new
        if name in ("exit", "lengthened"):
            yield "removed", None
    elif name in SWAPS:
        yield from ((f"-> {word}", word) for word in SWAPS[name] if word != value)
    elif name in ("channel", "family") and value not in ("all",):
        yield from ((f"-> {word}", word) for word in ("all", "each") if word != value)
    elif name in ("from_", "to"):
        minute = int(value[:2]) * 60 + int(value[3:])
        for new in (minute - 1, minute + 1):
            if 0 <= new < 1440:
                yield f"{value} -> {new // 60:02d}:{new % 60:02d}", f"{new // 60:02d}:{new % 60:02d}"
