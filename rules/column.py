"""A declared column: the common tongue of features, ledger and rules is a pa.Schema of these.

A list of columns may also stand in a file, so that a policy can be checked where there is no bank:
`retail.columns.yaml` is made by `nbo --home HOME rules columns` from a home's features.
"""

from pathlib import Path
from typing import Annotated, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rules.document import did_you_mean, read_document
from rules.errors import PolicyError

Type = Literal["bool", "number", "text"]
_TYPES: dict[Type, pa.DataType] = {"bool": pa.bool_(), "number": pa.float64(), "text": pa.string()}
_UNKNOWN = "unknown"
_TRUTHS = {"yes": True, "true": True, "no": False, "false": False}
MEANINGS = ("unit", "domain", "null", "source", "en", "zh")


def declare(
    name: str, type_: pa.DataType, *, unit: str, null: str, source: str, en: str, zh: str, domain: str = ""
) -> pa.Field:
    """One field with its meaning in the metadata: unit, domain, null meaning, source, words."""
    meaning = {"unit": unit, "domain": domain, "null": null, "source": source, "en": en, "zh": zh}
    return pa.field(name, type_, metadata={key.encode(): value.encode() for key, value in meaning.items()})


def meaning(field: pa.Field, key: str) -> str:
    """What the column declares under unit, domain, null, source, en or zh; empty where it is silent."""
    return (field.metadata or {}).get(key.encode(), b"").decode()


def silences(columns: pa.Schema) -> list[str]:
    """`column: key` for every unit, null, source, en or zh a column does not declare; [] where all do."""
    return [
        f"{field.name}: {key}"
        for field in columns
        for key in MEANINGS
        if key != "domain" and not meaning(field, key).strip()
    ]


def fact(column: pa.Field, text: str) -> float | str | bool | None:
    """The value a text in a file stands for, `unknown` for null; ValueError where it is none of the column's."""
    if text == _UNKNOWN:
        return None
    if pa.types.is_boolean(column.type):
        if text not in _TRUTHS:
            raise ValueError(f"`{column.name}` is `{text}`; write yes, no or unknown")
        return _TRUTHS[text]
    if pa.types.is_string(column.type):
        domain = meaning(column, "domain").split("|")
        if len(domain) > 1 and text not in domain:
            raise ValueError(f"`{text}` is no value of `{column.name}`{did_you_mean(text, domain)}")
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"`{column.name}` is `{text}`; write a number or unknown") from None


class ColumnEntry(BaseModel):
    """One column in a columns file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    type: Type
    unit: str = ""
    domain: str = ""
    null: str = ""
    source: str = ""
    en: str = ""
    zh: str = ""


class ColumnList(BaseModel):
    """A columns file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    columns: tuple[ColumnEntry, ...]


def read_columns(path: Path) -> pa.Schema:
    """The columns of a file; PolicyError with file, line and remedy where it does not hold."""
    document = read_document(path)
    try:
        entries = ColumnList.model_validate(document.value).columns
    except ValidationError as error:
        raise PolicyError(document.explain(error, ColumnList)) from error
    names = [entry.name for entry in entries]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        raise PolicyError(f"column `{twice}` stands twice; remove one", file=document.file, line=1)
    return pa.schema([declare(e.name, _TYPES[e.type], unit=e.unit, domain=e.domain, null=e.null, source=e.source,
                              en=e.en, zh=e.zh) for e in entries])  # fmt: skip


def columns_text(schema: pa.Schema) -> str:
    """The columns a rule may read (numbers, texts, yes/no) as a columns file, one line each."""
    lines = ["columns:"]
    for field in schema:
        kind = next((kind for kind, type_ in _TYPES.items() if field.type == type_), None)
        if kind is None or field.name in ("customer_id", "unit_id"):
            continue  # ids and instants never enter rules
        told = [f"{key}: {_quoted(said)}" for key in MEANINGS if (said := meaning(field, key))]
        lines.append(f"  - {{{', '.join([f'name: {field.name}', f'type: {kind}', *told])}}}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    plain = text[0].isalnum() and not set(text) & set(":#{}[],&*!|>'\"%@`\\")
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
