"""Each bug, put back on purpose, is seen by the check that keeps the promise."""

import asyncio
import logging
from typing import Any

import pytest

import serving.http.endpoints
from serving.http import guard
from serving.http.answers import problem
from serving.http.api import build_app


def test_p25_mutant_a_role_that_is_not_checked_is_seen(monkeypatch, ask):
    assert ask("switch", key="sms/channel").status_code == 403
    monkeypatch.setattr(guard, "check_role", lambda principal, roles: None)
    assert ask("switch", key="sms/channel").status_code == 200


def test_p25_mutant_a_channel_that_is_not_checked_is_seen(monkeypatch, ask):
    assert ask("due_contacts", key="sms/channel", body={"channel": "call"}).status_code == 403
    monkeypatch.setattr(serving.http.endpoints, "_own", lambda query, principal: query)
    assert ask("due_contacts", key="sms/channel", body={"channel": "call"}).status_code == 200


@pytest.mark.parametrize("content", [
    b'{"customer_id": "C", "customer_id": "D"}',
    b'{"customer_id": "C", "context": {"x": NaN}}',
], ids=["twice", "NaN"])  # fmt: skip
def test_p21_mutant_a_lenient_reader_is_seen(monkeypatch, ask, content):
    assert ask("decide", content=content).status_code == 400
    lenient = lambda model, body: model.model_validate_json(body)  # one line is enough
    monkeypatch.setattr(serving.http.endpoints, "read_body", lenient)
    assert ask("decide", content=content).json() != {}
    assert ask("decide", content=content.replace(b"NaN", b"1")).status_code == 200


def test_p21_mutant_a_body_without_a_limit_is_seen(monkeypatch, door):
    def taken() -> int:
        n_chunks = 0

        async def receive() -> dict[str, Any]:
            nonlocal n_chunks
            n_chunks += 1
            return {"type": "http.request", "body": b" " * 16_384, "more_body": n_chunks < 100}

        async def send(message: dict[str, Any]) -> None:
            pass

        scope = {
            "type": "http", "method": "POST", "path": "/v1/decisions", "query_string": b"",
            "headers": [(b"authorization", b"Bearer sms/channel"), (b"idempotency-key", b"k"),
                        (b"content-type", b"application/json")],
        }  # fmt: skip
        asyncio.run(build_app(door)(scope, receive, send))
        return n_chunks

    assert taken() == 5
    honest = guard.read_limited
    monkeypatch.setattr(guard, "read_limited", lambda headers, receive, _: honest(headers, receive, 10**9))
    assert taken() == 100


def test_p26_mutant_an_error_that_tells_its_text_is_seen(monkeypatch, ask, door, caplog):
    def fail():
        raise RuntimeError("CANARY-4711")

    door.replies["decide"] = fail
    with caplog.at_level(logging.DEBUG):
        assert "CANARY" not in ask("decide").text
    telling = lambda route, error: problem(500, "internal", str(error))  # as above
    monkeypatch.setattr(serving.http.endpoints, "error_reply", telling)
    assert "CANARY" in ask("decide").text


def test_p03_mutant_a_digest_without_the_path_is_seen(monkeypatch, ask, door):
    def digests() -> int:
        door.calls.clear()
        ask("claim", path_id="K1")
        ask("claim", path_id="K2")
        return len({call.body_sha256 for _, _, call in door.calls})

    assert digests() == 2

    class BodyOnly:
        @staticmethod
        def sha256(content: bytes) -> Any:
            import hashlib

            return hashlib.sha256(content.partition(b"\n")[2])

    monkeypatch.setattr(serving.http.endpoints, "hashlib", BodyOnly)
    assert digests() == 1
