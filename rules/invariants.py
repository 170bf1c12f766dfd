"""Invariants: what must hold of a policy whatever its rules say, in words and as a condition.

`<policy>.invariants.yaml` stands beside the policy. An invariant says of a set of cells: where one is
open, this condition is TRUE - not FALSE, and not unknown. It is written in the rule language, with the
facts of the cell and the placeholders of its columns (`consent_marketing_this_channel`). What the engine
adds to the rules - channels not asked for, the holdout, campaigns, switches - closes cells and opens none,
so what is proved of the rules holds of every decision.
"""

from pathlib import Path
from typing import Annotated, NoReturn

import pyarrow as pa
from pydantic import Field, ValidationError

from rules.catalogue import Catalogue, Frozen, Name, Words
from rules.document import Document, did_you_mean, parse_document, read_document
from rules.errors import ConditionError, PolicyError
from rules.language import Language
from rules.policy import ContactPolicy, with_state
from rules.rule import Scope
from rules.tree import columns_of, fold


class Invariant(Frozen):
    """Every open cell of the scope means that `open_only_if` is TRUE.

    paused: switches that are on while it is asked. kept_by: the parts of the policy without which it
    would not hold; none: the engine itself keeps it.
    """

    id: Name
    title: Words
    scope: Scope = Scope()
    open_only_if: Annotated[str, Field(min_length=1, max_length=4000)]
    paused: tuple[Annotated[str, Field(pattern=r"^(all|(channel|family|offer):[a-z][a-z0-9_]*)$")], ...] = ()
    kept_by: tuple[Name, ...] = ()


class Invariants(Frozen):
    """The invariants of one policy, and the facts that may be told.

    tellable: columns of which a customer may be told that another value would open an offer to him.
    """

    policy: Name
    invariants: tuple[Invariant, ...] = Field(min_length=1)
    tellable: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], ...] = ()


def load_invariants(path: Path, policy: ContactPolicy, catalogue: Catalogue, columns: pa.Schema) -> Invariants:
    """Read an invariants file and check every name and condition; PolicyError with file, line and remedy.

    columns: the feature columns; the policy's own state columns are added.
    """
    document = read_document(path)
    try:
        found = Invariants.model_validate(document.value)
    except ValidationError as error:
        raise PolicyError(document.explain(error, Invariants)) from error
    if found.policy != policy.id:
        raise PolicyError(f"is for policy `{found.policy}`, not `{policy.id}`; mend one", file=document.file, line=1)
    ids = [each.id for each in found.invariants]
    for twice in sorted({name for name in ids if ids.count(name) > 1}):
        _refuse(document, twice, f"invariant `{twice}` stands twice; give one another id")
    language = Language(with_state(columns, policy, catalogue), catalogue)
    for each in found.invariants:
        _check(each, policy, language, document)
    for name in found.tellable:
        if name not in language.columns.names:
            _refuse(document, "", f"tellable: unknown column `{name}`{did_you_mean(name, language.columns.names)}")
    return found


def tellable_in(text: str) -> tuple[str, ...]:
    """The columns of which a customer may be told, of an invariants file's text; PolicyError where it does not read."""
    value = parse_document(text).value
    listed = value.get("tellable", []) if isinstance(value, dict) else []
    return tuple(map(str, listed)) if isinstance(listed, list) else ()


def _check(each: Invariant, policy: ContactPolicy, language: Language, document: Document) -> None:
    for kind, name, known in each.scope.unknown_names(language.catalogue):
        _refuse(document, each.id, f"unknown {kind} `{name}`{did_you_mean(name, known)}")
    cells = each.scope.cells(language.catalogue)
    if not cells:
        _refuse(document, each.id, "its scope holds no cell; families, offers and channels exclude each other")
    parts = [part.id for part in policy.parts]
    for name in each.kept_by:
        if name not in parts:
            _refuse(document, each.id, f"kept_by: no part `{name}`{did_you_mean(name, parts)}")
    try:
        node = language.parse(each.open_only_if)
    except ConditionError as error:
        _refuse(document, each.id, error.what)
    for cell, facts in enumerate(language.cells):
        if cells >> cell & 1:
            for name in sorted(columns_of(fold(node, facts)) - set(language.columns.names)):
                _refuse(document, each.id, f"no column `{name}`{did_you_mean(name, language.columns.names)}")


def _refuse(document: Document, rule: str, what: str) -> NoReturn:
    raise PolicyError(f"`{rule}`: {what}" if rule else what, file=document.file, line=document.line_of(rule))
