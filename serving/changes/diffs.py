"""The text of a change, line by line: what each of its files said, and what it says now. Reads only."""

from dataclasses import dataclass
from difflib import unified_diff

from sqlalchemy.engine import Connection

from rules.liveset import patch_of
from serving.ledger import changes

CONTEXT_LINES = 3


@dataclass(frozen=True)
class FileDiff:
    """One file. lines: unified, without the two heads; each begins with `+`, `-`, ` ` or `@`."""

    name: str
    lines: tuple[str, ...]


def text_diff(connection: Connection, base: str, target: str) -> list[FileDiff]:
    """The files that differ between two sets, by name."""
    before, after = (changes.files_of(connection, revision) for revision in (base, target))
    found: list[FileDiff] = []
    for name in sorted(patch_of(before, after)):
        was, now = (side.get(name, "").splitlines() for side in (before, after))
        found.append(FileDiff(name, tuple(unified_diff(was, now, lineterm="", n=CONTEXT_LINES))[2:]))
    return found
