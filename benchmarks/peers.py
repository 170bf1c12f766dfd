"""Other engines on the same conditions: our compiled conditions written in their languages, row by row or columnar."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pyarrow as pa

from rules.tree import (
    ARITHMETIC,
    All,
    Arithmetic,
    Column,
    Compare,
    IsNull,
    Literal,
    Node,
    Not,
    OneOf,
    columns_of,
)  # fmt: skip

Answers = list[list[bool]]  # per condition, per row
Run = Callable[[], Answers]


@dataclass(frozen=True)
class Dialect:
    """How a language writes the connectives."""

    both: str
    either: str
    no: str
    equal: str
    differ: str
    quoted: str = "'"
    listed: str = "[]"
    flags: tuple[str, str] = ("true", "false")


CEL = Dialect("&&", "||", "!({})", "==", "!=")
ZEN = Dialect("and", "or", "not ({})", "==", "!=")
SQL = Dialect("AND", "OR", "NOT ({})", "=", "<>", listed="()", flags=("TRUE", "FALSE"))


def written(node: Node, d: Dialect) -> str:
    """A folded condition in a dialect; rows are null-free, so IS NULL is false."""
    if isinstance(node, Literal):
        if isinstance(node.value, bool):
            return d.flags[0] if node.value else d.flags[1]
        return f"{d.quoted}{node.value}{d.quoted}" if isinstance(node.value, str) else repr(node.value)
    if isinstance(node, Column):
        return node.name
    if isinstance(node, IsNull):
        return d.flags[1]
    if isinstance(node, Not):
        return d.no.format(written(node.item, d))
    if isinstance(node, OneOf):
        listed = ", ".join(f"'{v}'" if isinstance(v, str) else repr(v) for v in node.values)
        return f"({written(node.item, d)} {'IN' if d is SQL else 'in'} {d.listed[0]}{listed}{d.listed[1]})"
    if isinstance(node, Arithmetic):
        assert node.op in ARITHMETIC
        return f"({written(node.left, d)} {node.op} {written(node.right, d)})"
    if isinstance(node, Compare):
        op = {"=": d.equal, "<>": d.differ}.get(node.op, node.op)
        return f"({written(node.left, d)} {op} {written(node.right, d)})"
    word = d.both if isinstance(node, All) else d.either
    return "(" + f" {word} ".join(written(item, d) for item in node.items) + ")"  # type: ignore[union-attr]


def zen_engine(conditions: list[Node], rows: list[dict[str, Any]]) -> Run:
    """Compiled zen expressions, one evaluation per condition and row."""
    zen = import_module("zen")
    compiled = [(zen.compile_expression(written(node, ZEN)), _narrowed(node, rows)) for node in conditions]
    return lambda: [[expression.evaluate(row) for row in read] for expression, read in compiled]


def cel(conditions: list[Node], rows: list[dict[str, Any]]) -> Run:
    """Compiled CEL programs (common-expression-language, in Rust), one evaluation per condition and row."""
    engine = import_module("cel")
    compiled = [(engine.compile(written(node, CEL)), _narrowed(node, rows)) for node in conditions]
    return lambda: [[program.execute(row) for row in read] for program, read in compiled]


def _narrowed(node: Node, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the columns the condition reads: these engines copy whatever they are given."""
    names = sorted(columns_of(node))
    return [{name: row[name] for name in names} for row in rows]


def duckdb(conditions: list[Node], batch: pa.RecordBatch) -> Run:
    """All conditions as columns of one SELECT over the Arrow table, fetched as Arrow."""
    connection = import_module("duckdb").connect()
    connection.register("customers", pa.Table.from_batches([batch]))
    query = (
        "SELECT " + ", ".join(f"{written(node, SQL)} AS c{k}" for k, node in enumerate(conditions)) + " FROM customers"
    )

    def run() -> Answers:
        table = connection.sql(query).to_arrow_table()
        return [column.to_numpy() for column in table.columns]  # type: ignore[misc]

    return run


def polars(conditions: list[Node], batch: pa.RecordBatch) -> Run:
    """All conditions as one select of Polars' SQL expressions over the Arrow table."""
    pl = import_module("polars")
    frame = pl.from_arrow(pa.Table.from_batches([batch]))
    expressions = [pl.sql_expr(written(node, SQL)).alias(f"c{k}") for k, node in enumerate(conditions)]
    return lambda: [column.to_numpy() for column in frame.select(expressions).get_columns()]  # type: ignore[misc]


BY_ROW = {"zen-engine": ("zen", zen_engine), "common-expression-language": ("cel", cel)}
BY_COLUMN = {"duckdb": ("duckdb", duckdb), "polars": ("polars", polars)}
