"""A condition as text again: in the rule language, and as SQL for the audit twin.

The twin is a table of customers in an SQL database: text and yes/no columns as they are, numbers as
double precision with NaN stored as NULL. WHERE keeps what is TRUE; a rule also closes where its
condition is NULL, which the twin must ask for: `(condition) IS NOT FALSE`.
"""

from rules.tree import All, Any, Arithmetic, CellField, Column, Compare, IsNull, Literal, Node, Not, OneOf


def condition_text(node: Node) -> str:
    """The condition in the rule language: parsing it again gives an equal tree, chains flattened."""
    return _Writer(twin=False).condition(node)


def condition_sql(node: Node) -> str:
    """A folded condition (no cell facts left) as SQL, TRUE, FALSE or NULL as `rules.masks` says."""
    return _Writer(twin=True).condition(node)


class _Writer:
    def __init__(self, *, twin: bool) -> None:
        self.twin = twin

    def condition(self, node: Node) -> str:
        if isinstance(node, All | Any):
            return (" AND " if isinstance(node, All) else " OR ").join(self._grouped(item) for item in node.items)
        if isinstance(node, Not):
            return f"NOT {self._grouped(node.item)}"
        if isinstance(node, Compare):
            return f"{self._term(node.left)} {node.op} {self._term(node.right)}"
        if isinstance(node, OneOf):
            values = ", ".join(
                self._term(Literal(value, "text" if isinstance(value, str) else "number")) for value in node.values
            )
            return f"{self._term(node.item)} IN ({values})"  # fmt: skip
        if isinstance(node, IsNull):
            return f"{self._term(node.item)} IS NULL"
        return self._term(node)

    def _grouped(self, node: Node) -> str:
        text = self.condition(node)
        return text if isinstance(node, Literal | Column | CellField) else f"({text})"

    def _term(self, node: Node) -> str:
        if isinstance(node, Literal):
            return self._literal(node)
        if isinstance(node, Column):
            return f'"{node.name}"' if self.twin else node.name
        if isinstance(node, CellField):
            return node.name
        if isinstance(node, Arithmetic):
            text = f"({self._term(node.left)} {node.op} {self._term(node.right)})"
            return f"NULLIF({text}, CAST('NaN' AS DOUBLE PRECISION))" if self.twin else text
        return f"({self.condition(node)})"

    def _literal(self, node: Literal) -> str:
        if node.value is None:
            return (
                "CAST(NULL AS " + {"bool": "BOOLEAN", "number": "DOUBLE PRECISION", "text": "VARCHAR"}[node.kind] + ")"
            )
        if isinstance(node.value, bool):
            return "TRUE" if node.value else "FALSE"
        if isinstance(node.value, str):
            return "'" + node.value.replace("'", "''") + "'"
        value = float(node.value)
        text = str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
        return f"CAST({text} AS DOUBLE PRECISION)" if self.twin else text
