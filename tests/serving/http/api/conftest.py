"""A door that answers at once, and a client that asks with any role."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import httpx
import pytest

from serving.http import messages
from serving.http.api import build_app
from serving.http.door import Call, StoredAnswer
from serving.http.messages import Message, ReadyResponse
from serving.http.routes import ROUTES
from serving.ledger.keys import Principal, Role

T = "2026-06-01T09:30:00Z"
CHOICE = {
    "contact_id": "K1", "offer_id": "wealth_usd_income", "channel": "sms", "treatment": None,
    "send_after": T, "send_before": T, "expected_value_minor": 1200, "p_accept": 0.1, "why": [],
}  # fmt: skip
DECISION = {
    "decision_id": "D1", "customer_id": "C1", "as_of": T, "choices": [CHOICE],
    "offer_id": "wealth_usd_income", "channel": "sms", "reasons": [], "tier": "gold",
    "revisions": {"terms": "ab"}, "assumptions": [], "degraded": False, "expires_at": T,
}  # fmt: skip
CONTACT = {"contact_id": "K1", "state": "sent", "at": T}
CHANGE = {
    "change_id": "c1", "state": "proposed", "kinds": ["rules"], "files": ["policies/retail.yaml"], "author": "anna",
    "approver": None, "base": "0" * 64, "revision": "1" * 64, "effective_at": None, "in_force": False, "report": None,
    "steps": [],
}  # fmt: skip
ANSWERS: dict[str, dict[str, Any]] = {
    "decide": DECISION,
    "decide_batch": {"decisions": [DECISION]},
    "due_contacts": {"contacts": [], "cursor": None},
    "claim": {
        "contact_id": "K1", "state": "claimed", "customer_id": "C1", "offer_id": None,
        "channel": "sms", "treatment": None, "send_before": T, "claim_expires_at": T,
    },
    "sent": CONTACT,
    "cancel": CONTACT,
    "external_contact": CONTACT,
    "recalls": {"recalls": [], "cursor": None},
    "outcome": {"contact_id": "K1", "kind": "refused", "new": True},
    "event": {"event_id": "E1", "new": True, "opened": ["recent_outflow"], "closed": [], "caused": None},
    "consent": {"consent_id": "S1", "new": True, "recalled": 2},
    "decision": {
        "decision_id": "D1", "customer_id": "C1", "unit_id": "C1", "as_of": T,
        "inputs": {"age_years": 41.5, "consent_marketing_sms": None}, "result": DECISION,
        "terms": "ab", "row_sha256": "0" * 64, "sealed": False,
    },
    "why": {
        "decision_id": "D1", "offer_id": None, "channel": None, "sentences": [], "factors": {},
        "p_chosen": None, "explored": False, "drivers": [], "would_change": [], "cells": [{
            "offer_id": "card_gold", "channel": "sms", "open": False, "reasons": ["holdout"],
            "expected_value_minor": None,
        }],
    },
    "switch": {"scope": "all", "state": "paused", "paused": []},
    "worklist": {"manager": "M1", "as_of": T, "open": 0, "tasks": []},
    "move_tasks": {"from_manager": "M1", "to_manager": "M2", "moved": 3},
    "changes": {"in_force": None, "changes": []},
} | dict.fromkeys(("change", "propose", "approve", "reject", "withdraw", "activate", "rollback"), CHANGE)  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "decide": {"customer_id": "C1"},
    "decide_batch": {"decisions": [{"customer_id": "C1"}]},
    "due_contacts": {"channel": "sms"},
    "claim": {},
    "sent": {"sent_at": T},
    "cancel": {"reason": "not_sent"},
    "external_contact": {
        "contact_id": "X1", "customer_id": "C1", "channel": "sms", "purpose": "service",
        "sent_at": T,
    },
    "recalls": {},
    "outcome": {"contact_id": "K1", "kind": "refused", "at": T},
    "event": {
        "event_id": "E1", "customer_id": "C1", "kind": "transfer_out", "amount_minor": -500000,
        "currency": "USD", "balance_after_minor": 0, "booked_at": T, "recorded_at": T,
    },
    "consent": {
        "customer_id": "C1", "purpose": "marketing", "channel": "all", "state": "withdrawn",
        "at": T,
    },
    "decision": {},
    "why": {},
    "switch": {"scope": "channel:sms", "action": "pause"},
    "worklist": {"channel": "sms"},
    "move_tasks": {"to_manager": "M2", "channel": "sms"},
    "changes": {},
    "change": {},
    "propose": {"files": {"policies/retail.yaml": "id: retail"}, "note": "why"},
    "approve": {"revision": "1" * 64},
    "reject": {},
    "withdraw": {},
    "activate": {},
    "rollback": {"note": "why"},
}  # fmt: skip


class FakeDoor:
    """Answers every route with a fixed answer; `replies` overrides it, `calls` tells of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], Call]] = []
        self.replies: dict[str, Callable[[], Any]] = {}
        self.asked_who = 0

    def who(self, presented: str) -> Principal | None:
        self.asked_who += 1
        name, _, role = presented.partition("/")
        return Principal(name, Role(role)) if role in set(Role) else None

    def ready(self) -> ReadyResponse:
        if "ready" in self.replies:
            return self.replies["ready"]()
        return ReadyResponse(ready=True, degraded=False, problems=(), snapshot_as_of=None)

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., Any]:
        route = next((r for r in ROUTES if r.door == name), None)
        if route is None:
            raise AttributeError(name)

        def method(*given: Any) -> Any:
            self.calls.append((name, given[:-1], given[-1]))
            if name in self.replies:
                return self.replies[name]()
            answer = route.response.model_validate_json(json.dumps(ANSWERS[name]))
            return resolved(answer) if route.writes else answer

        return method


def resolved(answer: Message) -> Future[StoredAnswer]:
    future: Future[StoredAnswer] = Future()
    future.set_result(StoredAnswer.of(answer))
    return future


class Client:
    """Requests to an application in this process, one at a time."""

    def __init__(self, door: FakeDoor) -> None:
        self._transport = httpx.ASGITransport(build_app(door))  # pyright: ignore[reportArgumentType]  # methods made by __getattr__

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            base = "http://nbo"
            async with httpx.AsyncClient(transport=self._transport, base_url=base) as client:
                return await client.request(method, path, **more)

        return asyncio.run(asked())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)


class Asking:
    """One request: `ask(method of the door, ...)`, by default valid and allowed."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def __call__(
        self, door_method: str, *, key: str | None = None, body: Any = None, path_id: str = "K1",
        headers: dict[str, str] | None = None, content: bytes | None = None,
    ) -> Any:  # fmt: skip
        route = next(r for r in ROUTES if r.door == door_method)
        key = f"sms/{sorted(route.roles)[0]}" if key is None else key
        sent = {"Authorization": f"Bearer {key}"}
        path = route.path.replace(f"{{{route.id_name}}}", path_id)
        fields = BODIES[door_method] if body is None else body
        if not route.writes:
            return self.client.get(path, params=fields, headers=sent | (headers or {}))
        sent |= {"Idempotency-Key": "key-1", "Content-Type": "application/json"} | (headers or {})
        sent = {name: value for name, value in sent.items() if value}
        content = json.dumps(fields).encode() if content is None else content
        return self.client.post(path, content=content, headers=sent)


@pytest.fixture
def door() -> FakeDoor:
    return FakeDoor()


@pytest.fixture
def client(door: FakeDoor) -> Client:
    return Client(door)


@pytest.fixture
def ask(client: Client) -> Asking:
    return Asking(client)


@pytest.fixture
def bodies() -> dict[str, dict[str, Any]]:
    """A valid body (or query) for each method of the door."""
    return {name: dict(body) for name, body in BODIES.items()}


@pytest.fixture
def decision() -> messages.DecisionResponse:
    return messages.DecisionResponse.model_validate_json(json.dumps(DECISION))
