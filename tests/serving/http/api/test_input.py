"""P21 and P26: what is refused at the edge, with which status and line, and that nothing leaks."""

import asyncio
from typing import Any

import pytest

from serving.http.api import build_app
from serving.http.guard import BODY_BYTES_MAX
from serving.http.routes import ROUTES

CANARY = "CANARY-4711"
WRITES = [route for route in ROUTES if route.writes]


def deep(n: int) -> bytes:
    return b'{"customer_id":' + b"[" * n + b"]" * n + b"}"


REFUSED: list[tuple[bytes, int, str]] = [
    (b"", 422, "`customer_id` is missing; add it"),
    (b"{", 400, "body is not JSON: expecting property name enclosed in double quotes at line 1 "
                "column 2"),
    (b"null", 422, "body should be a JSON object"),
    (b"[]", 422, "body should be a JSON object"),
    (b'{"customer_id": "C1"} {}', 400, "body is not JSON: extra data at line 1 column 23"),
    (b'{"customer_id": "\xff"}', 400, "body is not UTF-8"),
    ("{}".encode("utf-16"), 400, "body is not UTF-8"),
    (b'{"customer_id": "C1", "top": NaN}', 400,
     "`NaN` is not JSON; leave the field out or send null"),
    (b'{"customer_id": "C1", "context": {"x": -Infinity}}', 400,
     "`-Infinity` is not JSON; leave the field out or send null"),
    (b'{"customer_id": "C1", "context": {"x": 1e400}}', 400,
     "body holds a number too large for a double"),
    (b'{"customer_id": "C1", "top": ' + b"9" * 5000 + b"}", 400,
     "body holds a number too long to read"),
    (b'{"customer_id": "C1", "customer_id": "C2"}', 400, "a field is given twice; send each once"),
    (deep(8), 400, "body is nested deeper than 8"),
    (deep(30_000), 400, "body is nested deeper than 8"),
    (b'{"customer_id": "' + b'\\"' * 30_000, 400,
     "body is not JSON: unterminated string starting at at line 1 column 17"),
    (b"{}", 422, "`customer_id` is missing; add it"),
    (b'{"customer_id": null}', 422, "`customer_id` should be a valid string"),
    (b'{"customer_id": 7}', 422, "`customer_id` should be a valid string"),
    (b'{"customer_id": ""}', 422, "`customer_id` should have at least 1 character"),
    (b'{"customer_id": "' + b"x" * 65 + b'"}', 422,
     "`customer_id` should have at most 64 characters"),
    (b'{"customer_id": "C\\u0000"}', 422,
     "`customer_id` should be printable, without control characters or outer spaces"),
    (b'{"customer_id": "C\\u202e1"}', 422,
     "`customer_id` should be printable, without control characters or outer spaces"),
    (b'{"customer_id": " C1"}', 422,
     "`customer_id` should be printable, without control characters or outer spaces"),
    (b'{"customer_id": "\\ud800"}', 400,
     "body is not JSON: unexpected end of hex escape at line 1 column 24"),
    (b'{"customer_id": "C1", "top": "1"}', 422, "`top` should be a valid integer"),
    (b'{"customer_id": "C1", "top": 1.0}', 422, "`top` should be a valid integer"),
    (b'{"customer_id": "C1", "top": true}', 422, "`top` should be a valid integer"),
    (b'{"customer_id": "C1", "top": 4, "direction": "inbound"}', 422,
     "`top` should be less than or equal to 3"),
    (b'{"customer_id": "C1", "top": 2}', 422,
     "`top` above 1 is for inbound only; send top 1 or direction inbound"),
    (b'{"customer_id": "C1", "direction": "sideways"}', 422,
     "`direction` should be 'outbound' or 'inbound'"),
    (b'{"customer_id": "C1", "channels": []}', 422,
     "`channels` should have at least 1 item after validation, not 0"),
    (b'{"customer_id": "C1", "channels": ["sms", "sms"]}', 422,
     "`channels` names a channel twice; name each once"),
    (b'{"customer_id": "C1", "channels": ["SMS"]}', 422,
     "`channels.0` should match pattern '^[a-z][a-z0-9_]{0,47}$'"),
    (b'{"customer_id": "C1", "C0000001": 1}', 422,
     "request has a field that is not known here; see /v1/openapi.json"),
    (b'{"customer_id": "C1", "context": {"c0000001": [1]}}', 422,
     "`context.*` should be true, false, a number or 200 printable characters"),
    (b'{"top": 0, "x": 1}', 422, "`customer_id` is missing; add it (and 2 more)"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "status", "line"), REFUSED, ids=[repr(content[:30]) for content, _, _ in REFUSED])
def test_p21_a_poisoned_decision_request_is_refused_with_one_line(content, status, line, ask, door):
    answer = ask("decide", content=content)
    assert answer.json()["error"]["message"] == line
    assert answer.status_code == status
    assert door.calls == [], "nothing may reach the door"


@pytest.mark.parametrize(
    ("method", "change", "line"),
    [
        ("event", {"booked_at": "2026-06-01T09:30:00"}, "`booked_at` should have timezone info"),
        ("event", {"booked_at": "5"},
         "`booked_at` should be an ISO 8601 instant such as 2026-06-01T09:30:00Z"),
        ("event", {"booked_at": 1780000000},
         "`booked_at` should be an ISO 8601 instant such as 2026-06-01T09:30:00Z"),
        ("event", {"booked_at": "1969-06-01T09:30:00Z"},
         "`booked_at` should lie between 1990-01-01 and 2100-01-01"),
        ("event", {"booked_at": "9999-12-31T23:59:59-12:00"},
         "`booked_at` should lie between 1990-01-01 and 2100-01-01"),
        ("event", {"amount_minor": 0.5}, "`amount_minor` should be a valid integer"),
        ("event", {"amount_minor": -(10**15) - 1},
         "`amount_minor` should be greater than or equal to -1000000000000000"),
        ("event", {"amount_minor": 10**30},
         "`amount_minor` should be less than or equal to 1000000000000000"),
        ("event", {"amount_minor": 5},
         "`amount_minor` is above 0, but this kind takes money out; send it negative"),
        ("event", {"kind": "salary"},
         "`amount_minor` is below 0, but this kind brings money in; send it positive"),
        ("event", {"currency": None},
         "`currency` goes with an amount or a balance; send both or neither"),
        ("event", {"currency": "usd"}, "`currency` should match pattern '^[A-Z]{3}$'"),
        ("event", {"kind": "lunch"}, "`kind` should be 'cash_withdrawal', 'transfer_out', "
         "'fx_sale', 'salary', 'cash_deposit', 'transfer_in', 'fx_purchase', 'purchase', 'fee', "
         "'interest', 'loan_payment', 'refund' or 'own_transfer'"),
        ("consent", {"purpose": "anything"}, "`purpose` should be 'marketing' or 'profiling'"),
        ("consent", {"expires_at": "2027-01-01T00:00:00Z"},
         "request has a field that is not known here; see /v1/openapi.json"),
        ("switch", {"scope": "everything"}, "`scope` should match pattern '^(all|(channel|family|"
         "offer|campaign):[A-Za-z0-9][A-Za-z0-9_.-]{0,63})$'"),
        ("outcome", {"kind": "maybe"}, "`kind` should be 'delivered', 'undelivered', 'opened', "
         "'clicked', 'accepted', 'refused', 'later', 'no_response', 'wrong_number', "
         "'do_not_call', 'complained' or 'opted_out'"),
        ("decide_batch", {"decisions": [{"customer_id": "C", "top": 2}]},
         "`decisions.0`: `top` above 1 is for inbound only; send top 1 or direction inbound"),
        ("decide_batch", {"decisions": []},
         "`decisions` should have at least 1 item after validation, not 0"),
        ("decide_batch", {"decisions": [{"customer_id": "C"}] * 257},
         "`decisions` should have at most 256 items after validation, not 257"),
    ],
)  # fmt: skip
def test_p21_a_wrong_field_is_named_with_what_it_should_be(method, change, line, ask, door, bodies):
    body = bodies[method] | change
    answer = ask(method, body=body)
    assert answer.json() == {"error": {"code": "invalid_request", "message": line}}
    assert answer.status_code == 422
    assert door.calls == []


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Type": "text/plain"}, 415, "json_only"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415, "json_only"),
        ({"Content-Type": "application/vnd.bentoml+pickle"}, 415, "json_only"),
        ({"Content-Type": ""}, 415, "json_only"),
        ({"Content-Encoding": "gzip"}, 415, "json_only"),
        ({"Idempotency-Key": ""}, 400, "idempotency_key_missing"),
        ({"Idempotency-Key": "a b"}, 400, "idempotency_key_missing"),
        ({"Idempotency-Key": "x" * 129}, 400, "idempotency_key_missing"),
        ({"X-Deadline-Ms": "0"}, 400, "bad_request"),
        ({"X-Deadline-Ms": "soon"}, 400, "bad_request"),
        ({"X-Deadline-Ms": "60001"}, 400, "bad_request"),
        ({"X-Deadline-Ms": "9" * 400}, 400, "bad_request"),
        ({"Content-Length": "20000000"}, 413, "body_too_large"),
        ({"Content-Length": "9" * 4400}, 413, "body_too_large"),
        ({"Content-Length": "-1"}, 400, "bad_request"),
    ],
)
@pytest.mark.parametrize("route", WRITES, ids=lambda route: route.name)
def test_p21_every_write_refuses_unfit_headers(route, headers, status, code, ask, door):
    answer = ask(route.door, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert door.calls == []


def test_json_with_a_charset_is_json(ask):
    assert ask("decide", headers={"Content-Type": "application/json; charset=utf-8"}).is_success


def test_a_claim_without_any_body_is_fine(client, ask, door):
    headers = {"Authorization": "Bearer sms/channel", "Idempotency-Key": "k"}
    assert client.post("/v1/contacts/K1/claim", headers=headers).is_success
    assert door.calls[0][:2] == ("claim", ("K1", door.calls[0][1][1]))


@pytest.mark.parametrize(
    ("query", "status", "line"),
    [
        ("", 422, "`channel` is missing; add it"),
        ("channel=sms&channel=call", 400, "a field is given twice; send each once"),
        ("channel", 400, "query is not made of name=value pairs"),
        ("channel=%ff", 400, "query is not made of name=value pairs"),
        ("&".join(f"a{n}=1" for n in range(17)), 400, "query is not made of name=value pairs"),
        ("channel=sms&limit=0", 422, "`limit` should be greater than or equal to 1"),
        ("channel=sms&limit=501", 422, "`limit` should be less than or equal to 500"),
        ("channel=sms&limit=x", 422, "`limit` should be a valid integer, unable to parse string as"
         " an integer"),
        ("channel=sms&due=2026-06-01", 422,
         "`due` should be an ISO 8601 instant such as 2026-06-01T09:30:00Z"),
        ("channel=sms&cursor=%00", 422, "`cursor` should match pattern '^[A-Za-z0-9_.:-]{1,128}$'"),
        ("channel=sms&customer_id=C1", 422,
         "request has a field that is not known here; see /v1/openapi.json"),
    ],
)  # fmt: skip
def test_p21_an_unfit_query_is_refused_with_one_line(query, status, line, client, door):
    headers = {"Authorization": "Bearer sms/channel"}
    answer = client.get(f"/v1/contacts?{query}", headers=headers)
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, line)
    assert door.calls == []


def test_p21_an_id_in_the_path_is_checked_too(ask, door):
    answer = ask("decision", path_id="x" * 65)
    assert answer.json()["error"]["message"] == "id in the path should have at most 64 characters"
    assert ask("decision", path_id="a%07b").status_code == 422
    assert door.calls == []


def test_p21_a_chunked_body_is_read_no_further_than_the_limit(door):
    """20 MB in chunks of 16 KiB: after the fifth the answer is there and nothing more is taken."""
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b" " * 16_384, "more_body": taken < 1_280}

    status, _ = asyncio.run(_raw(door, receive, [(b"transfer-encoding", b"chunked")]))
    assert status == 413
    assert taken == BODY_BYTES_MAX // 16_384 + 1
    assert door.calls == []


def test_p21_a_body_of_exactly_the_limit_is_read(ask):
    content = b'{"customer_id": "C1"}'
    assert ask("decide", content=content.ljust(BODY_BYTES_MAX)).status_code == 200
    assert ask("decide", content=content.ljust(BODY_BYTES_MAX + 1)).status_code == 413


def test_a_client_that_goes_away_within_its_body_leaves_no_trace(door):
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    status, _ = asyncio.run(_raw(door, receive, []))
    assert status == 400
    assert door.calls == []


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_p26_no_error_body_echoes_what_the_caller_sent(route, ask, bodies, caplog):
    """The canary stands in every place a caller can write to, with every kind of wrong value."""
    answers = []
    for wrong in (CANARY + "\x07", [CANARY], {CANARY: CANARY}, CANARY * 20, 7.5, None):
        for field in (*bodies[route.door], CANARY):
            body = bodies[route.door] | {field: wrong}
            if route.writes or isinstance(wrong, str):
                answers.append(ask(route.door, body=body, path_id=CANARY))
    if route.id_name:
        answers.append(ask(route.door, path_id=CANARY * 10))
    answers.append(ask(route.door, key=CANARY))
    answers.append(ask(route.door, headers={"Idempotency-Key": CANARY + " "}))
    refused = [answer for answer in answers if answer.status_code >= 400]
    assert len(refused) >= 1
    for answer in refused:
        assert CANARY not in answer.text
        assert "\n" not in answer.json()["error"]["message"]
    assert CANARY not in "".join(r.getMessage() for r in caplog.records if r.name != "httpx")


async def _raw(door: Any, receive: Any, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/decisions", "query_string": b"",
        "headers": [(b"authorization", b"Bearer sms/channel"), (b"idempotency-key", b"k"),
                    (b"content-type", b"application/json"), *headers],
    }  # fmt: skip
    await build_app(door)(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]
