"""The OpenAPI 3.1 document of the service, generated from the route table."""

from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import models_json_schema

from serving.http.messages import ErrorResponse, Message
from serving.http.routes import Route

API_VERSION = "1"
_REFERENCE = "#/components/schemas/{model}"
_READ_ERRORS = {
    "400": "The request does not make sense.",
    "401": "There is no key, or it is unknown, expired or revoked.",
    "403": "The key's role, or its channel, may not do this.",
    "422": "The fields do not fit: what and where.",
    "429": "Too many requests at once; repeat it in a second.",
    "500": "Our fault.",
    "503": "The ledger cannot be reached; nothing happened.",
    "504": "The deadline passed; repeat a write with the same Idempotency-Key.",
}
_WRITE_ERRORS = {
    "404": "There is no such thing.",
    "408": "The body did not come in time.",
    "410": "`erased`: the stored answer to this key named a customer whose data were erased since.",
    "409": "The state of what was asked about forbids it.",
    "413": "The body is larger than {size}.",
    "415": "The body is not JSON.",
}
_KEY_HEADER = {
    "name": "Idempotency-Key", "in": "header", "required": True,
    "description": "New with each write; the same again repeats the stored answer.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
}  # fmt: skip
_DEADLINE_HEADER = {
    "name": "X-Deadline-Ms", "in": "header", "required": False,
    "description": "How long the caller waits; nothing is committed later than that.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 60000},
}  # fmt: skip
_PATH_ID = {"type": "string", "minLength": 1, "maxLength": 64}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document as plain data, the same for the same routes."""
    routes = tuple(routes)
    requests = {r.request for r in routes if r.request is not None and r.writes}
    answers = {r.response for r in routes} | {ErrorResponse}
    by_name = sorted(requests | answers, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "validation" if model in requests else "serialization") for model in by_name],
        ref_template=_REFERENCE,
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Next best offer",
            "version": API_VERSION,
            "description": "For each customer the one next offer and channel, or silence with"
            " its reasons. Instants carry a zone, money is in minor units.",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas["$defs"],
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    errors = _READ_ERRORS | (_WRITE_ERRORS if route.writes else {})
    if route.writes:
        errors["413"] = errors["413"].format(size=_size(route.body_bytes_max))
    if route.id_name:
        errors = errors | {"404": _WRITE_ERRORS["404"]}
    operation: dict[str, Any] = {
        "operationId": route.door,
        "summary": route.summary,
        "x-roles": sorted(route.roles),
        "parameters": _parameters(route),
        "responses": {"200": _content(route.response, "The answer.")}
        | {status: _content(ErrorResponse, what) for status, what in sorted(errors.items())},
    }
    if route.writes and route.request is not None:
        fields = route.request.model_fields.values()
        body = _content(route.request, _first_line(route.request))
        operation["requestBody"] = body | {"required": any(f.is_required() for f in fields)}
    return operation


def _size(n_bytes: int) -> str:
    """`64 KiB`, `1 MiB`."""
    return f"{n_bytes >> 20} MiB" if n_bytes >= 1 << 20 else f"{n_bytes >> 10} KiB"


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    if route.id_name:
        place = {"name": route.id_name, "in": "path", "required": True}
        parameters.append(place | {"schema": _PATH_ID})
    if route.writes:
        return [*parameters, _KEY_HEADER, _DEADLINE_HEADER]
    schema = route.request.model_json_schema() if route.request else {}
    for name, field in schema.get("properties", {}).items():
        place = {"name": name, "in": "query", "required": name in schema.get("required", ())}
        parameters.append(place | {"description": field.get("description", ""), "schema": field})
    return [*parameters, _DEADLINE_HEADER]


def _content(model: type[Message], description: str) -> dict[str, Any]:
    reference = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"description": description, "content": {"application/json": {"schema": reference}}}


def _first_line(model: type[Message]) -> str:
    return (model.__doc__ or "").partition("\n")[0]
