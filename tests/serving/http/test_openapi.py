"""The document is whole, true to the table, and good enough for a generator of requests."""

import json

import pytest
from jsonschema import Draft202012Validator

from serving.http.openapi import document
from serving.http.routes import ROUTES

DOCUMENT = document(ROUTES)


def references(node):
    """Every $ref below the node."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere():
    schemas = DOCUMENT["components"]["schemas"]
    found = set(references(DOCUMENT))
    assert found
    assert {name.removeprefix("#/components/schemas/") for name in found} <= set(schemas)


def test_every_schema_is_a_json_schema_with_described_fields():
    schemas = dict(DOCUMENT["components"]["schemas"])
    assert schemas.pop("JsonValue") == {}, "anything goes, and nothing needs to be said"
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        assert schema.get("description"), name
        assert "enum" in schema or schema["additionalProperties"] is False, name
        for field, what in schema.get("properties", {}).items():
            assert what.get("description"), f"{name}.{field}"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_is_told_with_roles_headers_and_errors(route):
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    assert operation["operationId"] == route.door
    assert operation["x-roles"] == sorted(route.roles)
    assert operation["summary"]
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert ("Idempotency-Key" in names) == route.writes
    assert route.id_name is None or route.id_name in names
    assert {"200", "400", "401", "403", "422", "429", "503"} <= set(operation["responses"])
    assert ("413" in operation["responses"]) == route.writes
    assert ("requestBody" in operation) == route.writes


def test_each_route_says_how_large_a_body_it_takes():
    told = {route.name: DOCUMENT["paths"][route.path]["post"]["responses"]["413"]["description"]
            for route in ROUTES if route.writes}  # fmt: skip
    assert told.pop("POST /v1/changes") == "The body is larger than 1 MiB."
    assert set(told.values()) == {"The body is larger than 64 KiB."}


def test_operations_are_named_once_and_all_are_there():
    operations = [o for path in DOCUMENT["paths"].values() for o in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert sorted(names) == sorted({route.door for route in ROUTES})
    assert len(set(names)) == len(names)


def test_the_document_is_3_1_and_the_same_every_time():
    assert DOCUMENT["openapi"] == "3.1.0"
    assert json.dumps(document(ROUTES)) == json.dumps(DOCUMENT)


def test_query_fields_say_whether_they_are_needed():
    parameters = DOCUMENT["paths"]["/v1/contacts"]["get"]["parameters"]
    needed = {p["name"]: p["required"] for p in parameters if p["in"] == "query"}
    assert needed == {"channel": True, "due": False, "cursor": False, "limit": False}


def test_a_write_says_that_its_stored_answer_may_be_erased():
    """Mutant: 410 stands in no route."""
    for route in ROUTES:
        assert ("410" in DOCUMENT["paths"][route.path][route.method.lower()]["responses"]) == route.writes
