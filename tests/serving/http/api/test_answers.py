"""What comes back: every route, the same bytes for the same key, errors of the door and of us."""

import asyncio
import json
import logging
import threading
import time
from concurrent.futures import Future

import httpx
import pytest

import serving.http.endpoints
import serving.http.waiting
from serving.http.api import build_app
from serving.http.door import StoredAnswer
from serving.http.endpoints import HEAVY_READS_MAX, READERS
from serving.http.errors import Busy, Conflict, Forbidden, NotFound, TooLate, Unavailable
from serving.http.routes import ROUTES
from serving.ledger.contact import Action, LifecycleError, State
from serving.ledger.idempotency import ConflictError
from serving.ledger.switches import SwitchError
from serving.ledger.writer import CrowdedError, DeadlineError, LedgerError, RowError

WRITES = [route for route in ROUTES if route.writes]
HEADERS = {
    "Authorization": "Bearer sms/channel", "Idempotency-Key": "k",
    "Content-Type": "application/json",
}  # fmt: skip


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_answers_in_its_own_response_model(route, ask):
    answer = ask(route.door)
    assert answer.status_code == 200, answer.text
    assert route.response.model_validate_json(answer.content)


@pytest.mark.parametrize("route", WRITES, ids=lambda route: route.name)
def test_p03_stored_bytes_go_out_unchanged_with_their_status(route, ask, door):
    stored: Future[StoredAnswer] = Future()
    stored.set_result(StoredAnswer(b'{"kept":  1}', 409))
    door.replies[route.door] = lambda: stored
    answer = ask(route.door)
    assert (answer.status_code, answer.content) == (409, b'{"kept":  1}')


def test_p03_the_door_gets_key_route_and_a_digest_of_path_and_body(ask, door):
    ask("claim", path_id="K1")
    ask("claim", path_id="K1")
    ask("claim", path_id="K2")
    ask("claim", path_id="K1", content=b"{ }")
    calls = [call for _, _, call in door.calls]
    assert {call.idempotency_key for call in calls} == {"key-1"}
    assert {call.route for call in calls} == {"POST /v1/contacts/{contact_id}/claim"}
    digests = [call.body_sha256 for call in calls]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_reads_have_no_key_and_no_digest(ask, door):
    ask("due_contacts")
    call = door.calls[0][2]
    assert (call.idempotency_key, call.body_sha256) == (None, None)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("there is none"), 404, "not_found"),
        (Forbidden("not yours"), 403, "forbidden"),
        (Conflict("closed: opted_out", code="claim_refused"), 409, "claim_refused"),
        (Busy("later"), 429, "busy"),
        (Unavailable("disk full"), 503, "unavailable"),
        (TooLate("too late"), 504, "deadline_passed"),
        (LifecycleError("gone", None, Action.CLAIM), 404, "not_found"),
        (LifecycleError("is `sent`", State.SENT, Action.CLAIM), 409, "conflict"),
        (ConflictError("another body"), 422, "key_reused"),
        (SwitchError("is not paused"), 409, "conflict"),
        (DeadlineError("the deadline passed"), 504, "deadline_passed"),
        (CrowdedError("too many wait"), 429, "busy"),
        (LedgerError("the disk is full"), 503, "unavailable"),
        (RowError("refused a row"), 422, "unprocessable"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
@pytest.mark.parametrize("late", [False, True], ids=["raised", "in the future"])
def test_an_error_of_the_door_keeps_status_code_and_line(error, status, code, late, ask, door):
    def reply():
        if not late:
            raise error
        future: Future[StoredAnswer] = Future()
        future.set_exception(error)
        return future

    door.replies["decide"] = reply
    answer = ask("decide")
    assert answer.status_code == status
    assert answer.json() == {"error": {"code": code, "message": str(error)}}
    assert ("retry-after" in answer.headers) == (status in (429, 503))


def test_p26_an_unexpected_error_shows_its_text_to_nobody(ask, door, caplog):
    def fail():
        raise RuntimeError("CANARY-4711 was here")

    door.replies["decide"] = fail
    with caplog.at_level(logging.DEBUG):
        answer = ask("decide")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    [record] = [r for r in caplog.records if r.name == "nbo.http"]
    assert record.fields["reference"] in answer.json()["error"]["message"], "whoever is asked finds the line"
    assert "CANARY" not in answer.text + caplog.text
    assert "POST /v1/decisions" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "serving/http/endpoints.py:" in caplog.text or "tests/" in caplog.text


def test_the_deadline_of_the_header_reaches_the_door(ask, door, monkeypatch):
    monkeypatch.setattr(serving.http.endpoints.time, "monotonic", lambda: 1000.0)
    ask("decide", headers={"X-Deadline-Ms": "250"})
    ask("decide")
    ask("decide", headers={"X-Deadline-Ms": "60000"})
    assert [call.deadline for _, _, call in door.calls] == [1000.25, 1004.0, 1004.0]


def test_a_writer_that_hangs_is_answered_as_unknown(ask, door, monkeypatch):
    monkeypatch.setattr(serving.http.waiting, "GRACE_SECONDS", 0.0)
    ask("decide")  # the key is known then, and 1 ms is for the writer alone
    door.replies["decide"] = Future
    answer = ask("decide", headers={"X-Deadline-Ms": "1"})
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "outcome_unknown"


def test_one_request_too_many_is_busy_and_a_place_is_free_again_afterwards(door, decision):
    async def scenario() -> None:
        pending: list[Future[StoredAnswer]] = []

        def wait():
            pending.append(Future())
            return pending[-1]

        door.replies["decide"] = wait
        transport = httpx.ASGITransport(build_app(door, in_flight_max=2))
        async with httpx.AsyncClient(transport=transport, base_url="http://nbo") as client:

            def ask():
                return client.post("/v1/decisions", json={"customer_id": "C"}, headers=HEADERS)

            asked = [asyncio.create_task(ask()) for _ in range(2)]
            while len(pending) < 2:
                await asyncio.sleep(0)
            refused = await ask()
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "busy"
            assert refused.headers["retry-after"] == "1"
            live = await client.get("/livez")
            assert live.status_code == 200, "health is not counted"
            for future in pending:
                future.set_result(StoredAnswer.of(decision))
            assert [(await one).status_code for one in asked] == [200, 200]
            door.replies.clear()
            assert (await ask()).status_code == 200

    asyncio.run(scenario())


READS = ("/v1/contacts?channel=sms", "/v1/recalls", "/v1/decisions/D1/why", "/v1/worklist?channel=sms", "/readyz")


def test_reads_that_hang_hold_up_no_key_and_no_decision(door):
    """A dozen of each hang. A key nobody has shown yet is looked up, the decision is made, in the time it names."""

    async def scenario() -> int:
        async with inside(door) as client:
            slow = [asyncio.create_task(client.get(path, headers=HEADERS)) for path in READS * 12]
            fresh = HEADERS | {"Authorization": "Bearer app/channel", "X-Deadline-Ms": "2000"}
            try:
                async with asyncio.timeout(10):
                    while len(door.calls) < READERS + HEAVY_READS_MAX:
                        await asyncio.sleep(0)
                    return (await client.post("/v1/decisions", json={"customer_id": "C"}, headers=fresh)).status_code
            finally:
                free.set()
                await asyncio.gather(*slow)

    free = hanging(door, "due_contacts", "recalls", "why", "worklist", "ready")
    assert asyncio.run(scenario()) == 200


def test_a_third_worklist_at_once_is_busy_for_as_long_as_the_two_have_their_threads(door):

    async def scenario() -> None:
        async with inside(door) as client:

            async def asked(**more: str) -> tuple[int, str | None]:
                answer = await client.get("/v1/worklist?channel=sms", headers=HEADERS | more)
                return answer.status_code, answer.json().get("error", {}).get("code")

            slow = [asyncio.create_task(asked()), asyncio.create_task(asked(**{"X-Deadline-Ms": "100"}))]
            assert await slow[1] == (504, "deadline_passed")
            assert await asked() == (429, "busy"), "nobody waits for the second, but it runs"
            assert (await client.get("/v1/recalls", headers=HEADERS)).status_code == 200
            free.set()
            assert await slow[0] == (200, None)
            async with asyncio.timeout(10):
                while await asked() != (200, None):
                    await asyncio.sleep(0.01)

    free = hanging(door, "worklist")
    asyncio.run(scenario())


def inside(door) -> httpx.AsyncClient:
    """A client of the application, in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(build_app(door)), base_url="http://nbo")


def hanging(door, *methods: str) -> threading.Event:
    """What lets these methods of the door go on; until then each blocks its thread."""
    free = threading.Event()

    def replying(method: str):
        honest = getattr(door, method)

        def reply():
            free.wait(20)
            door.replies.pop(method, None)
            return honest() if method == "ready" else honest(None)

        return reply

    door.replies |= {method: replying(method) for method in methods}
    return free


def test_many_probes_of_health_at_once_are_refused_and_do_not_queue(door):
    async def scenario() -> list[int]:
        transport = httpx.ASGITransport(build_app(door))
        async with httpx.AsyncClient(transport=transport, base_url="http://nbo") as client:
            asked = [asyncio.create_task(client.get("/readyz")) for _ in range(12)]
            while sum(task.done() for task in asked) < 4:
                await asyncio.sleep(0)
            free.set()
            return sorted([(await task).status_code for task in asked])

    free = threading.Event()
    ready = door.ready()

    def slow():
        free.wait(20)
        return ready

    door.replies["ready"] = slow
    assert asyncio.run(scenario()) == [200] * 8 + [429] * 4


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "no_such_route"),
        ("GET", "/docs.json", 404, "no_such_route"),
        ("GET", "/v1/customers/C1", 404, "no_such_route"),
        ("DELETE", "/v1/decisions", 405, "method_not_allowed"),
        ("PUT", "/v1/contacts/K1/claim", 405, "method_not_allowed"),
    ],
)
def test_an_unknown_path_or_method_is_a_plain_error(method, path, status, code, client):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/v1/decisions/", "/livez/", "/v1/contacts/K1/claim/"])
def test_a_slash_at_the_end_is_no_route_and_leads_nowhere(path, client):
    answer = client.post(path, headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_such_route")
    assert "location" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"


def test_every_answer_forbids_caching_framing_and_sniffing(client, ask):
    for answer in (ask("decide"), client.get("/nothing"), client.get("/livez"), ask("why")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["content-type"] == "application/json"


def test_ready_is_503_with_its_reasons_when_the_ledger_cannot_be_written(client, door):
    assert client.get("/readyz").status_code == 200

    def broken():
        raise OSError("CANARY-4711")

    door.replies["ready"] = broken
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["problems"] == ["the state cannot be read: OSError"]
    assert client.get("/livez").json() == {"status": "live"}


def test_p26_metrics_count_by_route_template_and_hold_no_id(client, ask):
    ask("claim", path_id="CANARY-4711")
    ask("decide", body={"customer_id": "CANARY-4711"})
    client.get("/v1/customers/CANARY-4711")
    answer = client.get("/metrics", headers={"Authorization": "Bearer ops/admin"})
    assert answer.status_code == 200
    assert "CANARY" not in answer.text
    claim = 'nbo_requests_total{route="POST /v1/contacts/{contact_id}/claim",status="200"} 1.0'
    assert claim in answer.text
    assert 'nbo_requests_total{route="other",status="404"} 1.0' in answer.text
    assert "nbo_degraded 0.0" in answer.text


def test_equal_answers_are_equal_bytes(decision):
    again = decision.model_copy()
    assert StoredAnswer.of(decision) == StoredAnswer.of(again)
    assert json.loads(StoredAnswer.of(decision).body)["as_of"] == "2026-06-01T09:30:00Z"


def test_a_read_that_hangs_is_answered_within_its_deadline(door):
    """Mutant: a read waits the writer's second of grace, and is told that its outcome is unknown."""

    async def scenario() -> None:
        async with inside(door) as client:
            await client.get("/v1/recalls", headers=HEADERS)  # the key is known then
            free = hanging(door, "recalls")
            began = time.monotonic()
            answer = await client.get("/v1/recalls", headers=HEADERS | {"X-Deadline-Ms": "100"})
            took = time.monotonic() - began
            free.set()
            assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_passed")
            assert took < serving.http.waiting.GRACE_SECONDS

    asyncio.run(scenario())


def test_probes_share_what_one_finds_out_and_one_that_hangs_is_not_ready(door):
    """Mutants: a probe for each who asks, one behind the other; a 504 that speaks of an Idempotency-Key."""

    async def scenario() -> None:
        transport = httpx.ASGITransport(build_app(door, answer_seconds_max=0.2))
        async with httpx.AsyncClient(transport=transport, base_url="http://nbo") as client:
            admin = {"Authorization": "Bearer boss/admin"}
            free, asked = hanging(door, "ready"), list[str]()
            held = door.replies["ready"]
            door.replies["ready"] = lambda: asked.append("ready") or held()
            *told, metrics = await asyncio.gather(
                *(client.get(path, headers=admin) for path in (*["/readyz"] * 5, "/metrics"))
            )
            assert asked == ["ready"]
            free.set()
            assert {answer.status_code for answer in told} == {503}
            assert told[0].json()["problems"] == ["the state could not be read in time"]
            assert metrics.status_code == 200 and "nbo_ready 0.0" in metrics.text
            async with asyncio.timeout(10):
                while (await client.get("/readyz")).status_code != 200:
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())
