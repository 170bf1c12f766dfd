"""P25: whose key may use which route, generated from the table, and beside it by hand."""

import pytest
from starlette.routing import Route as StarletteRoute

from serving.http import messages
from serving.http.api import build_app
from serving.http.endpoints import Endpoint, Hall, PlainEndpoint
from serving.http.routes import PLAIN_ROUTES, ROUTES, Route, RouteError
from serving.ledger.keys import Role

NO_KEY = {"error": {
    "code": "unauthorised",
    "message": "send the header `Authorization: Bearer KEY`; nbo keys add makes one",
}}  # fmt: skip


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_p25_a_route_admits_its_roles_and_no_other(route, role, ask, door):
    answer = ask(route.door, key=f"sms/{role}")
    assert answer.status_code == (200 if role in route.roles else 403)
    assert bool(door.calls) == (role in route.roles)
    if role not in route.roles:
        assert answer.json()["error"]["code"] == "forbidden"
        assert f"`{role}`" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("role", "forbidden"),
    [
        (Role.DATA_SCIENCE, {route.door for route in ROUTES}),
        (Role.MARKETING, {"event", "consent", "outcome", "claim", "sent", "decide", "decision"}),
        (Role.COMPLIANCE, {"decide", "event", "external_contact", "claim", "outcome"}),
        (
            Role.CHANNEL,
            {"switch", "changes", "change", "propose", "approve", "reject", "withdraw", "activate", "rollback"},
        ),
    ],
)
def test_p25_what_a_role_must_never_do(role, forbidden, ask):
    for method in sorted(forbidden):
        assert ask(method, key=f"sms/{role}").status_code == 403, method


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic c21zOng=", "Bearer nobody", "Bearer " + "x" * 257],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [(r.method, r.path) for r in ROUTES] + [("GET", "/metrics"), ("GET", "/v1/openapi.json")],
)
def test_p25_without_a_good_key_no_route_answers(method, path, header, client, door):
    headers = {} if header is None else {"Authorization": header}
    answer = client.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert door.calls == []


def test_p25_every_route_of_the_application_stands_in_a_table(door):
    app = build_app(door)
    names = set()
    for route in app.routes:
        assert isinstance(route, StarletteRoute)
        assert isinstance(route.app, Endpoint)
        names |= {f"{m} {route.path}" for m in (route.methods or set()) - {"HEAD"}}
    assert names == {route.name for route in ROUTES} | set(PLAIN_ROUTES)
    assert [n for n, roles in PLAIN_ROUTES.items() if roles is None] == [
        "GET /livez",
        "GET /readyz",
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"roles": frozenset()}, "has no role; say whose keys may use it"),
        ({"door": "no_such"}, ": the door has no method `no_such`"),
        ({"writes": False}, ": POST writes and GET does not"),
        ({"request": None}, " has no request model; POST takes a body"),
        ({"path": "/open"}, ": expected /v1/... with at most one id"),
    ],
)
def test_p25_a_route_without_a_role_cannot_be_built(change, line):
    good = {
        "method": "POST", "path": "/v1/new", "roles": frozenset({Role.ADMIN}), "door": "decide",
        "request": messages.DecisionRequest, "response": messages.DecisionResponse, "writes": True,
    }  # fmt: skip
    assert Route(**good).name == "POST /v1/new"
    with pytest.raises(RouteError) as refused:
        Route(**(good | change))
    assert str(refused.value).endswith(line)


def test_p25_a_plain_route_without_a_role_cannot_be_built_either(door):
    with pytest.raises(RouteError, match="route `GET /secret` has no role"):
        PlainEndpoint(Hall(door, 1, 1.0), "GET /secret", frozenset(), lambda: None)


def test_p25_metrics_are_for_admins(client):
    for role in Role:
        answer = client.get("/metrics", headers={"Authorization": f"Bearer x/{role}"})
        assert answer.status_code == (200 if role is Role.ADMIN else 403)


@pytest.mark.parametrize(
    ("name", "asked", "status"),
    [
        ("sms", "sms", 200),
        ("sms-gateway-2", "sms", 200),
        ("call.desk", "call", 200),
        ("sms", "call", 403),
        ("gateway", "sms", 403),
        ("smsx", "sms", 403),
    ],
)
def test_p25_a_channel_key_reads_the_contacts_of_its_own_channel(name, asked, status, ask):
    answer = ask("due_contacts", key=f"{name}/channel", body={"channel": asked})
    assert answer.status_code == status
    assert ask("due_contacts", key=f"{name}/admin", body={"channel": asked}).status_code == 200


def test_p25_recalls_of_a_channel_key_are_narrowed_to_its_channel(ask, door):
    ask("recalls", key="sms/channel")
    ask("recalls", key="sms/channel", body={"channel": "sms"})
    ask("recalls", key="boss/marketing")
    assert [given[0].channel for _, given, _ in door.calls] == ["sms", "sms", None]
    assert ask("recalls", key="sms/channel", body={"channel": "call"}).status_code == 403


def test_a_key_is_remembered_for_a_second_by_one_application(ask, door):
    ask("decide")
    ask("decide")
    assert door.asked_who == 1
    assert ask("decide", key="nobody").status_code == 401
    assert ask("decide", key="nobody").status_code == 401
    assert door.asked_who == 3, "unknown keys are not remembered"
