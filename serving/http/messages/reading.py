"""Bytes from outside -> a checked message, or one clear line that echoes nothing of them."""

import json
import math
import re
from collections.abc import Iterable
from functools import cache
from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from serving.http.messages.base import Id, Message

DEPTH_MAX = 8
QUERY_FIELDS_MAX = 16

M = TypeVar("M", bound=Message)


class MessageError(ValueError):
    """A request is not what its route expects; one line without the caller's values.

    malformed: it is not even JSON or a query; otherwise its fields do not fit the model.
    """

    def __init__(self, line: str, *, malformed: bool = False) -> None:
        super().__init__(line)
        self.malformed = malformed


def read_body(model: type[M], body: bytes) -> M:
    """The message in a JSON body.

    Raises:
        MessageError: Not JSON, nested deeper than 8, NaN or Infinity, a number no double can
            hold, a field given twice, or fields that do not fit the model.
    """
    _check_json(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":  # half a surrogate pair: only pydantic minds it
            what = first["msg"].removeprefix("Invalid JSON: ")
            raise MessageError(f"body is not JSON: {what}", malformed=True) from None
        raise MessageError(_line(model, error)) from None


def read_query(model: type[M], query: bytes) -> M:
    """The message in a query string; MessageError as for a body."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query),
            errors="strict",
            max_num_fields=QUERY_FIELDS_MAX,
        )
        return model.model_validate_strings(_once(pairs))
    except MessageError:
        raise
    except ValidationError as error:
        raise MessageError(_line(model, error)) from None
    except ValueError:
        raise MessageError("query is not made of name=value pairs", malformed=True) from None


def read_id(text: str) -> str:
    """An id out of a path; MessageError where it is none."""
    try:
        return _ID.validate_python(text)
    except ValidationError as error:
        raise MessageError(f"id in the path {_plain(error.errors()[0])}") from None


_ID: TypeAdapter[str] = TypeAdapter(Id)
# A text (closed or cut off), or a bracket. Possessive and total: one pass, whatever is sent.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)


def _check_json(body: bytes) -> None:
    """Refuse what a lenient reader lets through. Content is discarded: pydantic reads it again."""
    try:
        text = body.decode("utf-8")
        _check_depth(text)
        value: object = _DECODER.decode(text)
    except MessageError:
        raise
    except UnicodeDecodeError:
        raise MessageError("body is not UTF-8", malformed=True) from None
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        place = f"line {error.lineno} column {error.colno}"
        raise MessageError(f"body is not JSON: {what} at {place}", malformed=True) from None
    except (ValueError, RecursionError):
        raise MessageError("body holds a number too long to read", malformed=True) from None
    if not isinstance(value, dict):
        raise MessageError("body should be a JSON object")


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return
    depth = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        depth += (first in "[{") - (first in "]}")
        if depth > DEPTH_MAX:
            raise MessageError(f"body is nested deeper than {DEPTH_MAX}", malformed=True)


def _once(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    listed = list(pairs)
    fields = dict(listed)
    if len(fields) < len(listed):
        raise MessageError("a field is given twice; send each once", malformed=True)
    return fields


def _no_constant(name: str) -> float:
    raise MessageError(f"`{name}` is not JSON; leave the field out or send null", malformed=True)


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise MessageError("body holds a number too large for a double", malformed=True)
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)


def _line(model: type[Message], error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False)
    n_more = len({detail["loc"][:1] for detail in details}) - 1
    more = f" (and {n_more} more)" if n_more else ""
    return _told(model, details[0]) + more


def _told(model: type[Message], detail: ErrorDetails) -> str:
    known = _field_names(model)
    # Keys the caller made up may be ids: they are shown as `*`.
    parts = [str(p) if isinstance(p, int) or p in known else "*" for p in detail["loc"]]
    if detail["type"] == "extra_forbidden":
        place = f"`{'.'.join(parts[:-1])}`" if parts[:-1] else "request"
        return f"{place} has a field that is not known here; see /v1/openapi.json"
    path, text = ".".join(parts), _plain(detail)
    if not path:
        return text
    return f"`{path}` {text}" if text.startswith(("should", "is ")) else f"`{path}`: {text}"


def _plain(detail: ErrorDetails) -> str:
    """`should ...`: pydantic's sentence without its subject; none of them quotes the value."""
    if detail["type"] == "missing":
        return "is missing; add it"
    if detail["type"] == "value_error":
        return str(detail.get("ctx", {}).get("error", "is not allowed"))
    return re.sub(r"^[A-Z]\w*( should )", r"should ", detail["msg"])


@cache
def _field_names(model: type[Message]) -> frozenset[str]:
    schema = model.model_json_schema()
    objects = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for one in objects for name in one.get("properties", {}))
