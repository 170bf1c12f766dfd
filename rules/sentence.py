"""A rule's condition as a sentence, in English and Chinese, from the tree and the columns' own words.

The words are the `en` and `zh` of the columns' metadata, so what compliance reads is what the engine
runs. A rule closes on UNKNOWN as well, and the sentence says so: "..., or not known".
"""

import re
from typing import Literal as Is

import pyarrow as pa

from rules.catalogue import Catalogue
from rules.column import meaning
from rules.language import Language, kind_of_type
from rules.money import amount
from rules.rule import Rule
from rules.tree import (
    PLACEHOLDERS,
    All,
    Any,
    Arithmetic,
    CellField,
    Column,
    Compare,
    IsNull,
    Literal,
    Node,
    Not,
    OneOf,
    Scalar,
    atoms,
)  # fmt: skip

Tongue = Is["en", "zh"]
_CELL = {
    "offer.id": ("the offer", "产品"), "offer.family": ("the offer's family", "产品类别"),
    "offer.currency": ("the offer's currency", "产品币种"), "offer.product": ("the offer's product", "对应产品"),
    "offer.entry_minor": ("the offer's entry amount", "起购金额"), "offer.risk_grade": ("the offer's risk grade", "产品风险等级"),
    "offer.credit": ("the offer is credit", "产品属于信贷"), "offer.personalised": ("the offer is chosen by profiling", "产品由画像选出"),
    "channel.id": ("the channel", "渠道"), "channel.disturbs": ("the channel rings or buzzes", "渠道会打扰客户")}  # fmt: skip
_THIS = {"this_offer": ("this offer", "该产品"), "this_family": ("this family", "该类产品"),
         "this_currency": ("the offer's currency", "产品币种"), "this_product": ("the offer's product", "该产品"),
         "this_channel": ("this channel", "该渠道")}  # fmt: skip
_THAN = {"<": ("is below", "低于"), "<=": ("is at most", "不超过"), ">": ("is above", "高于"), ">=": ("is at least", "不低于"),
         "=": ("is", "为"), "<>": ("is not", "不为")}  # fmt: skip
_FLIP = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}
_NEGATE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "<>", "<>": "="}
_WEEKDAYS = (("Monday", "周一"), ("Tuesday", "周二"), ("Wednesday", "周三"), ("Thursday", "周四"), ("Friday", "周五"),
             ("Saturday", "周六"), ("Sunday", "周日"))  # fmt: skip
_VALUES = {
    "person": "个人",
    "corporate": "企业",
    "granted": "已同意",
    "denied": "已拒绝",
    "withdrawn": "已撤回",
    "none": "从未表示",
}
_COUNTED = ("days", "years", "contacts")


def scope_sentence(rule: Rule, catalogue: Catalogue, tongue: Tongue) -> str:
    """Where the rule holds: `Cards and loans; by telephone call; outbound only`, or everywhere."""
    place = 0 if tongue == "en" else 1
    titles = {item.id: (item.title.en, item.title.zh)[place]
              for item in (*catalogue.families, *catalogue.channels, *catalogue.offers)}  # fmt: skip
    listed = [(", ", "、")[place].join(titles.get(name, name) for name in names)
              for names in (rule.scope.families, rule.scope.offers, rule.scope.channels) if names]  # fmt: skip
    direction = {
        "any": (),
        "outbound": ("outbound only", "仅限主动外呼和发送"),
        "inbound": ("inbound only", "仅限客户来询"),
    }
    said = [*listed, *direction[rule.scope.direction][place : place + 1]]
    return ("; ", "；")[place].join(said) or ("everywhere", "全部产品、渠道和方向")[place]


def sentence(rule: Rule, language: Language, tongue: Tongue) -> str:
    """When the rule closes its cells, as one sentence."""
    node = language.parse(rule.when)
    said = _Speaker(language, tongue).condition(node)
    if isinstance(node, Literal):
        return (
            {"en": "Always silent.", "zh": "始终静默。"}[tongue]
            if node.value
            else {"en": "Never silent.", "zh": "从不静默。"}[tongue]
        )
    certain = all(isinstance(part, IsNull) for part in atoms(node))
    one = sum(1 for _ in atoms(node)) == 1
    if tongue == "en":
        return f"Silent when {said}" + (
            "." if certain else ", or not known." if one else ", or when that cannot be told for want of a fact."
        )
    return f"{said}时静默" + ("。" if certain else "；情况不明时同样静默。")  # fmt: skip


def fact_words(name: str, value: Scalar, language: Language, tongue: Tongue) -> str:
    """One fact of a customer in words: `USD balance is USD 5,000.00`, `complaint is not known`."""
    field = language.columns.field(name)
    kind = kind_of_type(field.type, name)
    column = Column(name, kind)
    if value is None:
        node: Node = IsNull(column)
    elif kind == "bool":
        node = column if value is True else Not(column)
    else:
        node = Compare("=", column, Literal(value, kind))
    return _Speaker(language, tongue).condition(node)


def _close(text: str) -> str:
    """Chinese needs no blanks between its characters."""
    return re.sub(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])", "", text)


class _Speaker:
    """Says conditions in one tongue."""

    def __init__(self, language: Language, tongue: Tongue) -> None:
        self.language, self.place = language, 0 if tongue == "en" else 1
        self.tongue: Tongue = tongue
        catalogue = language.catalogue
        self._titles = {item.id: (item.title.en, item.title.zh)
                        for item in (*catalogue.families, *catalogue.channels, *catalogue.offers)}  # fmt: skip

    def condition(self, node: Node, *, negated: bool = False) -> str:
        if isinstance(node, Not):
            return self.condition(node.item, negated=not negated)
        if isinstance(node, All | Any):
            together = isinstance(node, All) != negated
            joint = ((" and ", "，且") if together else (", or ", "，或"))[self.place]
            parts = [self._grouped(item, together, negated=negated) for item in node.items]
            return joint.join(parts)
        if isinstance(node, Compare):
            return self._compare(node, negated)
        if isinstance(node, OneOf):
            values = ((" or ", "或")[self.place]).join(self._value(value, node.item) for value in node.values)
            return self._joined(self._noun(node.item), ("is neither" if negated and len(node.values) > 1 else "is not" if negated else "is", "不为" if negated else "为")[self.place],
                                values.replace(" or ", " nor ") if negated and not self.place else values)  # fmt: skip
        if isinstance(node, IsNull):
            return self._joined(
                self._noun(node.item),
                ("is known" if negated else "is not known", "已知" if negated else "不明")[self.place],
            )
        return self._flag(node, negated)

    def _grouped(self, node: Node, together: bool, *, negated: bool) -> str:
        inner = node.item if isinstance(node, Not) else node
        text = self.condition(node, negated=negated)
        flipped = negated != isinstance(node, Not)
        mixes = isinstance(inner, All | Any) and (isinstance(inner, All) != flipped) != together
        return ("({})", "（{}）")[self.place].format(text) if mixes else text

    def _compare(self, node: Compare, negated: bool) -> str:
        left, right, op = node.left, node.right, node.op
        if isinstance(left, Literal | CellField) and not isinstance(right, Literal | CellField):
            left, right, op = right, left, _FLIP[op]
        op = _NEGATE[op] if negated else op
        if isinstance(right, Literal):
            if self._unit(left).startswith("minutes after") and op in ("<", ">="):
                verb = {"<": ("is before", "早于"), ">=": ("is at or after", "不早于")}[op][self.place]
                return self._joined(self._noun(left), verb, self._value(right.value, left))
            return self._joined(self._noun(left), _THAN[op][self.place], self._value(right.value, left))
        return self._joined(self._noun(left), _THAN[op][self.place], self._noun(right))

    def _flag(self, node: Node, negated: bool) -> str:
        if isinstance(node, Literal):
            return ("always", "任何情况")[self.place]
        noun = self._words(node)
        if isinstance(node, CellField):
            return ("it is not so that " if negated else "", "并非" if negated else "")[self.place] + noun
        if self.place:
            return (
                f"客户{'未' if negated else ''}{noun}"
                if noun.startswith("持有")
                else f"{'没有' if negated else '有'}“{noun}”记录"
            )
        if noun.startswith("holds "):
            return f"the customer {'does not hold' if negated else 'holds'} {noun.removeprefix('holds ')}"
        return f"{'no ' if negated else ''}{noun} is on record"

    def _joined(self, *parts: str) -> str:
        return " ".join(parts) if not self.place else "".join(parts)

    def _noun(self, node: Node) -> str:
        if isinstance(node, Literal):
            return self._value(node.value, node)
        if isinstance(node, Arithmetic):
            verb = {"+": ("plus", "加"), "-": ("minus", "减"), "*": ("times", "乘以")}[node.op][self.place]
            return self._joined(self._noun(node.left), verb, self._noun(node.right))
        if isinstance(node, Column | CellField):
            words = self._words(node)
            counted = not self.place and isinstance(node, Column) and self._unit(node) in _COUNTED
            return f"the number of {words}" if counted else words
        return ("({})", "（{}）")[self.place].format(self.condition(node))

    def _words(self, node: Node) -> str:
        if isinstance(node, CellField):
            return _CELL[node.name][self.place]
        if not isinstance(node, Column):
            return self.condition(node)
        field, placeholder, example = self._declared(node.name)
        said = meaning(field, self.tongue) or node.name
        if not placeholder:
            return said
        this = _THIS[placeholder][self.place]
        if placeholder == "this_currency":  # "USD balance" -> "balance in the offer's currency"
            rest = said.replace(example.upper(), "").strip().replace("  ", " ")
            return f"{rest} in {this}" if not self.place else _close(f"{this}{rest}")
        return _close(said.replace(example, this)) if example in said else f"{said} ({this})"

    def _declared(self, name: str) -> tuple[pa.Field, str, str]:
        """The column's field, or for a placeholder: an example's field, the placeholder, the example's value."""
        for placeholder in PLACEHOLDERS:
            if placeholder in name:
                values = {
                    str(cell[placeholder]).lower() for cell in self.language.cells if cell[placeholder] is not None
                }
                value = next(v for v in sorted(values) if name.replace(placeholder, v) in self.language.columns.names)
                return self.language.columns.field(name.replace(placeholder, value)), placeholder, value
        return self.language.columns.field(name), "", ""

    def _unit(self, node: Node) -> str:
        return meaning(self._declared(node.name)[0], "unit") if isinstance(node, Column) else ""

    def _value(self, value: Scalar, of: Node) -> str:
        if not isinstance(value, float):
            return self._titles.get(str(value), (str(value), _VALUES.get(str(value), str(value))))[self.place]
        unit = self._unit(of)
        if unit.endswith(" minor"):
            currency = unit.split()[0]
            return f"{currency} {amount(value, currency)}"
        if unit.startswith("minutes after"):
            return f"{int(value) // 60:02d}:{int(value) % 60:02d}"
        if unit.startswith("1 Monday") and value in range(1, 8):
            return _WEEKDAYS[int(value) - 1][self.place]
        return f"{value * 100:g} %" if unit == "share" else f"{value:,.10g}"
