"""Empty tables for a bank's engineer to fill: one CSV header a table, and what each column means."""

from pathlib import Path

from features.batch import WORDS
from features.feed import FeedError
from features.tables import REQUIRED_TABLES, TABLES, Column, Table

_HEAD = """# The tables of your bank

One file a table: CSV in UTF-8 with the header as it stands, or Parquet under the same name. Instants carry their zone
(2026-06-01T00:00:00Z), money is in whole minor units (12.34 is 1234), ids are text. Leave a cell empty where the bank
does not know. Remove the files of tables you do not have and say so in assumptions.yaml, one sentence a line: nothing
is guessed. Then:

    nbo import tables DIR         every refused row stands in data/quarantine with its reason
    nbo import tables URL         the same from a database: tables or views under these names
"""
_ASSUMPTIONS = """# One sentence a line for what the bank's systems do not have; stamped on every list and answer. Examples:
# - 'no consents: all granted'
# - 'no reachability: all reachable by mail'
# - 'no cases: none open'
[]
"""


def write_template(folder: Path) -> list[Path]:
    """Write the headers, README.md and assumptions.yaml into a new or empty folder; the files.

    Raises:
        FeedError: The folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FeedError(f"`{folder}` is not empty; choose an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    texts = {f"{name}.csv": ",".join(c.name for c in table.columns) + "\n" for name, table in TABLES.items()}
    texts |= {
        "README.md": _HEAD + "".join(_section(table) for table in TABLES.values()),
        "assumptions.yaml": _ASSUMPTIONS,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    return [folder / name for name in texts]


def _section(table: Table) -> str:
    needed = "; this table must be there" if table.name in REQUIRED_TABLES else ""
    refers = "".join(f"; `{column}` must stand in {target}" for column, target in table.refers.items())
    key = f"key: {', '.join(table.key)}{refers}{needed}"
    lines = [
        f"| {c.name} | {WORDS[c.type]} | {'yes' if c.required else ''} | {_allowed(c)} | {c.help} |"
        for c in table.columns
    ]
    head = "| column | type | required | values | meaning |\n|---|---|---|---|---|"
    return f"\n## {table.name}: {table.help}\n\n{key}\n\n{head}\n" + "\n".join(lines) + "\n"


def _allowed(column: Column) -> str:
    if column.domain:
        return ", ".join(column.domain)
    low = "" if column.low is None else f"from {column.low:g}"
    high = "" if column.high is None else f"to {column.high:g}"
    return f"{low} {high}".strip()
