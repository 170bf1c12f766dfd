"""P21: whatever a generator makes of the OpenAPI document, nothing answers 5xx."""

import json

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.core import NOT_SET

from serving.http.openapi import document
from serving.http.routes import ROUTES

SCHEMA = schemathesis.openapi.from_dict(document(ROUTES))
FEW = hypothesis.settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@SCHEMA.parametrize()
@FEW
def test_p21_schemathesis_finds_no_server_error(case, client):
    role = case.operation.definition.raw["x-roles"][0]
    headers = {name: str(value) for name, value in (case.headers or {}).items()}
    sent = _sendable(headers | {"Idempotency-Key": "k", "Content-Type": "application/json"})
    sent["Authorization"] = f"Bearer sms/{role}"
    body = b"" if case.body is NOT_SET else case.body
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.request(
        case.method, case.formatted_path, headers=sent, content=content,
        params={k: str(v) for k, v in (case.query or {}).items()},
    )  # fmt: skip
    if answer.status_code == 504 and any(name.lower() == "x-deadline-ms" for name in sent):
        assert answer.json()["error"]["code"] in ("deadline_passed", "outcome_unknown"), (
            "it asked for an answer in no time"
        )
        return
    _is_clean(answer)


@pytest.mark.parametrize("route", [r for r in ROUTES if r.writes], ids=lambda route: route.name)
def test_p21_any_json_and_any_bytes_are_answered_cleanly(route, ask):
    @FEW
    @hypothesis.given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
    def answered(content: bytes) -> None:
        _is_clean(ask(route.door, content=content))

    answered()


@pytest.mark.parametrize("route", [r for r in ROUTES if r.writes], ids=lambda route: route.name)
def test_p21_a_valid_body_with_one_field_replaced_is_answered_cleanly(route, ask, bodies):
    @FEW
    @hypothesis.given(st.sampled_from([*bodies[route.door], "extra"]), JSON)
    def answered(field: str, value: object) -> None:
        _is_clean(ask(route.door, content=json.dumps(bodies[route.door] | {field: value}).encode()))

    answered()


def _is_clean(answer: httpx.Response) -> None:
    assert answer.status_code in (200, 400, 404, 405, 413, 415, 422), answer.text
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert set(error) == {"code", "message"}
        assert "\n" not in error["message"]
        assert len(error["message"]) < 400


def _sendable(headers: dict[str, str]) -> dict[str, str]:
    """What an HTTP client can put into a header at all."""
    return {k: v for k, v in headers.items() if v.isascii() and v.isprintable() and k.isascii()}
