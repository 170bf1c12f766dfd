"""YAML as a policy officer means it: every scalar is text, and every value knows its line.

YAML guesses (`no` is False, `21:00` is 1260, `08:00` is text), lets a duplicate key win silently
and expands anchors without bound. Here nothing is guessed: scalars stay strings until the model
that reads them says what they are; duplicate keys, anchors, tags, and oversized or deep files are
refused with file and line.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rules.errors import PolicyError

BYTES_MAX = 1_000_000
DEPTH_MAX = 20

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # libyaml where PyYAML has it: five times as fast

Value = str | list["Value"] | dict[str, "Value"]
Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """The parsed text: plain dicts, lists and strings, and the line of each value."""

    file: str
    value: Value
    lines: dict[Path_, int]

    def line(self, path: Sequence[str | int]) -> int:
        """The 1-based line of the value at this path, or of its nearest parent."""
        place = tuple(path)
        while place not in self.lines and place:
            place = place[:-1]
        return self.lines.get(place, 1)

    def line_of(self, part: str) -> int:
        """The line of the entry whose `id` is this one, at its `when` where it has one; 1 if there is none."""
        for path, line in self.lines.items():
            if path[-1:] == ("id",) and self._at(path) == part:
                return self.lines.get((*path[:-1], "when"), line)
        return 1

    def _at(self, path: Path_) -> Value | None:
        value: Value | None = self.value
        for key in path:
            value = (
                value.get(str(key)) if isinstance(value, dict) else value[int(key)] if isinstance(value, list) else None
            )
        return value

    def explain(self, error: ValidationError, model: type[BaseModel]) -> str:
        """The first finding of pydantic as one line: file, line, rule id, what, nearest right name."""
        found = _first(error)
        path = tuple(part for part in found["loc"] if not str(part).startswith("function-"))
        owner = self._owner(path)
        field = ".".join(str(part) for part in path[-2:] if not isinstance(part, int)) or "file"
        said = found["msg"].removeprefix("Value error, ")
        if found["type"] == "extra_forbidden":
            said = f"unknown key `{path[-1]}`" + (did_you_mean(str(path[-1]), sorted(_keys(model))) or "; remove it")
        elif found["type"] == "missing":
            said = f"`{path[-1]}` is missing; add it"
        elif found["type"] in ("enum", "literal_error"):
            known = re.findall(r"'([^']*)'", str(found.get("ctx", {}).get("expected", "")))
            near = did_you_mean(str(found.get("input")), known) or f"; it is one of {', '.join(known)}"
            said = f"`{field}` is {_shown(found.get('input'))}{near}"
        elif found["type"] != "value_error":
            said = f"`{field}` is {_shown(found.get('input'))}: {said[0].lower()}{said[1:]}"
        return f"{self.file}:{self.line(path)}: " + (f"`{owner}`: " if owner else "") + said

    def _owner(self, path: Path_) -> str:
        value: Value | None = self.value
        owner = ""
        for part in path:
            if isinstance(value, dict):
                value = value.get(str(part))
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                break
            if isinstance(value, dict) and isinstance(value.get("id"), str):
                owner = str(value["id"])
        return owner


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`: did you mean ...?` with the nearest right name; empty where none is near."""
    near = get_close_matches(name, list(known), 1, 0.5)
    return f": did you mean `{near[0]}`?" if near else ""


def read_document(path: Path) -> Document:
    """Read one YAML file; PolicyError with file and line for whatever is refused."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PolicyError(
            f"cannot be read: {(error.strerror or 'error').lower()}; check the path", file=str(path)
        ) from error
    if len(raw) > BYTES_MAX:
        raise PolicyError(f"is {len(raw):,} bytes; at most {BYTES_MAX:,} are read", file=str(path))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise PolicyError("is not UTF-8; save it as UTF-8", file=str(path), line=line) from error
    return parse_document(text, str(path))


def parse_document(text: str, file: str = "<text>") -> Document:
    """Parse YAML text; PolicyError with file and line for whatever is refused."""
    lines: dict[Path_, int] = {}
    try:
        events = _events(text, file)
        first = next(events, None)
        if first is None:
            raise PolicyError("is empty", file=file, line=1)
        value = _plain(events, first, (), lines, file)
        if second := next(events, None):
            raise PolicyError("holds a second document; keep one", file=file, line=_line(second))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PolicyError(f"is not YAML: {error.problem or 'cannot be parsed'}", file=file, line=line) from error
    except yaml.YAMLError as error:
        raise PolicyError(f"is not YAML: {str(error).splitlines()[0]}", file=file, line=1) from error
    return Document(file, value, lines)


def _events(text: str, file: str) -> Iterator[yaml.Event]:
    """Beginnings and ends of lists and mappings and the scalars in them, as they stand in the text; PolicyError for what is refused."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise PolicyError("anchors (`&`, `*`) are not allowed; write the value out", file=file, line=_line(event))
        if tag := getattr(event, "tag", None):
            raise PolicyError(f"tag `{tag}` is not allowed; remove it", file=file, line=_line(event))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif not isinstance(event, yaml.ScalarEvent):
            continue  # where the file or a document of it begins and ends
        if depth > DEPTH_MAX:
            raise PolicyError(f"is nested deeper than {DEPTH_MAX} levels", file=file, line=_line(event))
        yield event


def _plain(events: Iterator[yaml.Event], event: yaml.Event, path: Path_, lines: dict[Path_, int], file: str) -> Value:
    """The value that begins with this event; takes the events up to its end."""
    lines[path] = _line(event)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Value] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(_plain(events, item, (*path, len(items)), lines, file))
        return items
    if isinstance(event, yaml.ScalarEvent):
        return str(event.value)
    mapping: dict[str, Value] = {}
    while not isinstance(at_key := next(events), yaml.MappingEndEvent):
        if not isinstance(at_key, yaml.ScalarEvent):
            raise PolicyError("a key must be a name", file=file, line=_line(at_key))
        key = str(at_key.value)
        if key in mapping:
            raise PolicyError(f"key `{key}` stands twice; remove one", file=file, line=_line(at_key))
        mapping[key] = _plain(events, next(events), (*path, key), lines, file)
        lines[*path, key] = _line(at_key)
    return mapping


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else "a list" if isinstance(value, list) else "a mapping"
    return f"`{text[:60]}`" if isinstance(value, str) else text


def _first(error: ValidationError) -> ErrorDetails:
    """The first finding; a misspelt key rather than the right one it leaves missing."""
    findings = error.errors()
    beside = [f for f in findings if f["type"] == "extra_forbidden" and f["loc"][:-1] == findings[0]["loc"][:-1]]
    return beside[0] if findings[0]["type"] == "missing" and beside else findings[0]


def _keys(model: type[BaseModel]) -> set[str]:
    """Every key a file of this model may hold, at any depth."""
    keys: set[str] = set()
    for name, field in model.model_fields.items():
        keys.add(field.alias or name)
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys |= _keys(part)
    return keys
