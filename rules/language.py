"""The language of rule conditions: a subset of SQL's boolean expressions, parsed by sqlglot.

Allowed: AND OR NOT, = <> < <= > >=, IN (literals), BETWEEN, IS [NOT] NULL, + - *, columns,
`offer.x` / `channel.x`, numbers, 'text', TRUE, FALSE. Nothing else: no functions, division,
subqueries, dates or clocks - what a rule needs beyond that is a declared state column. The text is
never executed; it is lowered through this whitelist into `rules.tree`. Parentheses are required
where AND and OR mix, text literals must belong to the column's domain, and a misspelt name is
answered with the nearest right one.
"""

from difflib import get_close_matches
from functools import cached_property, lru_cache

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rules.catalogue import Catalogue
from rules.cell import CELL_FIELDS, cell_facts
from rules.errors import ConditionError
from rules.sql import condition_text as shown
from rules.tree import (
    FALSE,
    PLACEHOLDERS,
    TRUE,
    All,
    Any,
    Arithmetic,
    CellField,
    Column,
    Compare,
    IsNull,
    Kind,
    Literal,
    Node,
    Not,
    OneOf,
    Scalar,
    kind_of,
)  # fmt: skip

LENGTH_MAX, DEPTH_MAX = 4000, 60
KEPT_LENGTH = 400  # of a condition whose parse is kept: a tree is some 300 times its text
_COMPARE: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_ARITHMETIC: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}


class Language:
    """Parses conditions against the columns and the catalogue in force."""

    def __init__(self, columns: pa.Schema, catalogue: Catalogue) -> None:
        self.columns, self.catalogue = columns, catalogue
        self._parsed: dict[str, Node] = {}
        self._domains = {"offer.id": [o.id for o in catalogue.offers],
                         "offer.family": [f.id for f in catalogue.families],
                         "channel.id": [c.id for c in catalogue.channels]}  # fmt: skip

    @cached_property
    def _names(self) -> list[str]:
        """The names of the columns; Arrow makes its list of thousands anew whenever it is asked."""
        return self.columns.names

    @cached_property
    def cells(self) -> list[dict[str, Scalar]]:
        """The facts of each cell, in cell order."""
        return cell_facts(self.catalogue)

    def field(self, name: str) -> pa.Field:
        """The declared column a condition names; for a placeholder that of the first cell that has one."""
        return self.columns.field(self._example(name))

    def parse(self, text: str) -> Node:
        """The typed tree of a condition; ConditionError in one line for whatever is not allowed."""
        # A rule is asked for once a cell and direction, and reading one takes a millisecond.
        if text not in self._parsed:
            self._parsed[text] = self._read(text)
        return self._parsed[text]

    def _read(self, text: str) -> Node:
        if len(text) > LENGTH_MAX:
            raise ConditionError(f"condition is {len(text):,} characters long; at most {LENGTH_MAX:,}")
        try:
            parsed = _sql(text)
            if len(parsed) != 1 or parsed[0] is None:
                raise ConditionError("condition is empty or holds a `;`; write one condition")
            node = self._lower(parsed[0], 0)
        except SqlglotError as error:
            raise ConditionError(_near(text, error)) from error
        except RecursionError:
            raise ConditionError(f"condition is nested deeper than {DEPTH_MAX} levels") from None
        if kind_of(node) != "bool":
            raise ConditionError(f"condition is a {kind_of(node)}, not true or false: `{text[:80]}`")
        return node

    def _lower(self, e: exp.Expr, depth: int) -> Node:
        if depth > DEPTH_MAX:
            raise ConditionError(f"condition is nested deeper than {DEPTH_MAX} levels")
        if isinstance(e, exp.Paren):
            return self._lower(e.this, depth + 1)
        if isinstance(e, exp.And | exp.Or):
            return self._connect(e, depth)
        if isinstance(e, exp.Not):
            return Not(self._bool(self._lower(e.this, depth + 1), "NOT"))
        if type(e) in _COMPARE:
            return self._compare(
                _COMPARE[type(e)], self._lower(e.this, depth + 1), self._lower(e.expression, depth + 1)
            )
        if type(e) in _ARITHMETIC:
            left, right = self._lower(e.this, depth + 1), self._lower(e.expression, depth + 1)
            return Arithmetic(_ARITHMETIC[type(e)], _numeric(left), _numeric(right))
        return self._leaf(e, depth)

    def _leaf(self, e: exp.Expr, depth: int) -> Node:
        if isinstance(e, exp.Neg):
            inner = _numeric(self._lower(e.this, depth + 1))
            if isinstance(inner, Literal) and isinstance(inner.value, float):
                return Literal(-inner.value, "number")
            return Arithmetic("-", Literal(0.0, "number"), inner)
        if isinstance(e, exp.Between) and not e.args.get("symmetric"):
            item = self._lower(e.this, depth + 1)
            low, high = self._lower(e.args["low"], depth + 1), self._lower(e.args["high"], depth + 1)
            return All((self._compare(">=", item, low), self._compare("<=", item, high)))
        if isinstance(e, exp.In) and e.expressions and not e.args.get("query"):
            return self._one_of(e, depth)
        if isinstance(e, exp.Is) and isinstance(e.expression, exp.Null):
            return IsNull(self._lower(e.this, depth + 1))
        if isinstance(e, exp.Literal):
            return Literal(str(e.this), "text") if e.is_string else Literal(_float(str(e.this)), "number")
        if isinstance(e, exp.Boolean):
            return TRUE if e.this else FALSE
        if isinstance(e, exp.Column):
            return self._column(e)
        raise ConditionError(f"`{e.sql(dialect='duckdb')[:60]}`: {type(e).__name__} is not allowed in a rule;"
                             " compute it as a column")  # fmt: skip

    def _connect(self, e: exp.And | exp.Or, depth: int) -> Node:
        kind, node = (exp.And, All) if isinstance(e, exp.And) else (exp.Or, Any)
        items: list[Node] = []
        stack: list[exp.Expr] = [e]
        while stack:  # AND chains lean left: a loop, so that length is not depth
            part = stack.pop()
            if isinstance(part, kind):
                stack += [part.expression, part.this]
            elif isinstance(part, exp.And | exp.Or):
                raise ConditionError("AND and OR mix without parentheses; put parentheses round each group")
            else:
                items.append(self._bool(self._lower(part, depth + 1), kind.__name__.upper()))
        return node(tuple(items))

    def _bool(self, node: Node, place: str) -> Node:
        if kind_of(node) != "bool":
            raise ConditionError(f"{place} needs a condition, not a {kind_of(node)}: `{shown(node)}`")
        return node

    def _compare(self, op: str, left: Node, right: Node) -> Node:
        kinds = {kind_of(left), kind_of(right)}
        if len(kinds) > 1:
            raise ConditionError(
                f"cannot compare {kind_of(left)} with {kind_of(right)}: `{shown(left)} {op} {shown(right)}`"
            )
        if kinds != {"number"} and op not in ("=", "<>"):
            raise ConditionError(f"`{op}` compares numbers only: `{shown(left)} {op} {shown(right)}`")
        if kinds == {"bool"}:
            return self._truth_test(op, left, right)
        for item, literal in ((left, right), (right, left)):
            if isinstance(literal, Literal) and not isinstance(item, Literal):
                self._in_domain(item, literal.value)
        return Compare(op, left, right)

    def _truth_test(self, op: str, left: Node, right: Node) -> Node:
        if isinstance(left, Literal):
            left, right = right, left
        if not isinstance(right, Literal):
            raise ConditionError(f"compare a yes/no column with TRUE or FALSE: `{shown(left)} {op} {shown(right)}`")
        return left if (right.value is True) == (op == "=") else Not(left)

    def _one_of(self, e: exp.In, depth: int) -> Node:
        item = self._lower(e.this, depth + 1)
        values: list[Scalar] = []
        for part in e.expressions:
            literal = self._lower(part, depth + 1) if isinstance(part, exp.Literal | exp.Neg) else None
            if not isinstance(literal, Literal) or literal.kind != kind_of(item):
                raise ConditionError(f"IN takes a list of {kind_of(item)} literals; `{part.sql()[:40]}` is none")
            self._in_domain(item, literal.value)
            values.append(literal.value)
        return OneOf(item, tuple(values))

    def _in_domain(self, item: Node, value: Scalar) -> None:
        if not isinstance(item, Column | CellField) or kind_of(item) != "text":
            return
        domain = self._domains.get(item.name) or domain_of(self.columns, self._example(item.name))
        if domain and value not in domain:
            near = get_close_matches(str(value), domain, 1)
            raise ConditionError(
                f"`{value}` is no value of `{item.name}`"
                + (f": did you mean `{near[0]}`?" if near else f"; it is one of {', '.join(domain)}")
            )

    def _column(self, e: exp.Column) -> Node:
        name = e.sql(dialect="duckdb").replace('"', "")
        if e.table:
            if name in CELL_FIELDS:
                return CellField(name, CELL_FIELDS[name])
            raise self._unknown(name, list(CELL_FIELDS))
        example = self._example(name)
        if example not in self._names:
            raise self._unknown(name, self._names)
        return Column(name, kind_of_type(self.columns.field(example).type, name))

    def _example(self, name: str) -> str:
        """A real column for a name with a placeholder: that of the first cell that has one."""
        for placeholder in PLACEHOLDERS:
            if placeholder in name:
                values = sorted(
                    {str(cell[placeholder]).lower() for cell in self.cells if cell[placeholder] is not None}
                )
                names = [name.replace(placeholder, value) for value in values]
                return next((real for real in names if real in self._names), name)
        return name

    def _unknown(self, name: str, known: list[str]) -> ConditionError:
        near = get_close_matches(name, known, 1, 0.5)
        if not near and any(word in name for word in PLACEHOLDERS):
            return ConditionError(
                f"no column of this bank has the form `{name}`; import the tables it comes from, or mend the rule"
            )
        return ConditionError(f"unknown column `{name}`" + (f": did you mean `{near[0]}`?" if near else ""))


def _sql(text: str) -> list[exp.Expr | None]:
    """What sqlglot reads, only ever looked at: a process reads the same policy at each start, change and comparison."""
    return _kept_sql(text) if len(text) <= KEPT_LENGTH else sqlglot.parse(text, dialect="duckdb")


@lru_cache(maxsize=1024)
def _kept_sql(text: str) -> list[exp.Expr | None]:
    return sqlglot.parse(text, dialect="duckdb")


def kind_of_type(arrow: pa.DataType, name: str) -> Kind:
    """number, text or bool for an Arrow type; ConditionError for types no rule can read."""
    if pa.types.is_boolean(arrow):
        return "bool"
    if pa.types.is_string(arrow):
        return "text"
    if pa.types.is_floating(arrow) or pa.types.is_integer(arrow):
        return "number"
    raise ConditionError(f"column `{name}` is a {arrow}; a rule reads numbers, text and yes/no")


def domain_of(columns: pa.Schema, name: str) -> list[str]:
    """The declared values of a text column (`a|b|c` in its metadata); empty: free text."""
    if name not in columns.names:
        return []
    declared = (columns.field(name).metadata or {}).get(b"domain", b"").decode()
    return declared.split("|") if "|" in declared else []


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ConditionError(f"`{text}` is too large a number")
    return value


def _numeric(node: Node) -> Node:
    if kind_of(node) != "number":
        raise ConditionError(f"arithmetic needs numbers: `{shown(node)}` is {kind_of(node)}")
    return node


def _near(text: str, error: SqlglotError) -> str:
    details = getattr(error, "errors", None)
    if details and details[0].get("col") is not None:
        where = details[0]
        return f"does not parse near `{where.get('highlight') or text[:40]}` (column {where['col']}): check brackets and operators"
    return f"does not parse: `{text[:60]}`; check quotes and brackets"
