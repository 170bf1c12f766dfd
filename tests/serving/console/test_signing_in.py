"""Signing in: passwords, throttle, sessions; the proxy's header; the bank's OpenID provider."""

from collections.abc import Generator
from typing import Any

import pytest

from features.signin import ProxySettings, SignIn
from serving.console.cookies import LANGUAGE, SESSION
from serving.console.signing_in import granted
from serving.console.throttle import FAILURES_MAX, WAIT_SECONDS, Throttle
from serving.ledger import sessions, users
from serving.ledger.keys import Principal, Role
from tests.serving.console.conftest import HASH, PASSWORD, Browser, other_way


def cookie(answer, name: str) -> str:
    return next(line for line in answer.headers.get_list("set-cookie") if line.startswith(name + "="))


def test_a_password_opens_a_session_and_signing_out_ends_it_everywhere(person, app):
    browser = person("lin")
    assert browser.get("/console/today").status_code == 200
    token = browser.client.cookies[SESSION]
    assert browser.post("/console/sign-out", shown_on="/console/today").status_code == 303
    thief = Browser(app)
    thief.client.cookies.set(SESSION, token)
    assert thief.get("/console/today").headers["location"].startswith("/console/sign-in")


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites_and_secure_off_this_machine(app):
    for address, secure in (("http://127.0.0.1", False), ("https://console.bank", True), ("http://console.bank", True)):
        browser = Browser(app, address)
        page = browser.get("/console/sign-in")
        visit = cookie(page, "nbo_visit")
        browser.client.cookies.set("nbo_visit", visit.partition("=")[2].partition(";")[0])
        answer = browser.client.post(
            "/console/sign-in", data={"csrf": browser.token(page), "name": "lin", "password": PASSWORD}
        )
        said = cookie(answer, SESSION).lower()
        assert "httponly" in said
        assert "samesite=lax" in said
        assert "path=/console" in said
        assert ("secure" in said) is secure
    assert "HttpOnly" in cookie(browser.get("/console/language?to=zh"), LANGUAGE)


def test_a_wrong_name_or_password_says_the_same(stranger):
    for name, password in (("lin", "wrong"), ("nobody", PASSWORD), ("", ""), ("wang", "x" * 500), ("lin'--", PASSWORD)):
        answer = stranger.sign_in(name, password)
        assert answer.status_code == 403
        assert "do not go together" in answer.text
        assert SESSION not in stranger.client.cookies


def test_five_failures_shut_the_name_even_for_the_right_password(stranger, app):
    for _ in range(FAILURES_MAX):
        assert stranger.sign_in("lin", "wrong").status_code == 403
    assert stranger.sign_in("LIN ", PASSWORD).status_code == 429
    assert stranger.sign_in("lin", PASSWORD).status_code == 429
    assert Browser(app).sign_in("wang").status_code == 303  # nobody else waits


def test_the_throttle_forgets_after_its_time_and_holds_few_names():
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for _ in range(FAILURES_MAX):
        throttle.failed("a")
    assert throttle.is_shut("A")
    now[0] = WAIT_SECONDS
    assert not throttle.is_shut("a")
    throttle.failed("a")
    assert not throttle.is_shut("a")
    for k in range(20_000):
        throttle.failed(str(k))
    assert len(throttle._failed) == 10_000
    throttle.passed("19999")
    assert len(throttle._failed) == 9_999


def test_a_session_ends_after_a_working_day_by_the_wall_clock(office):
    principal = Principal("lin", Role.COMPLIANCE)
    token = office.ledger.write(lambda c: sessions.begin(c, principal, "proxy", at=1_000.0)).result()
    with office.ledger.read() as connection:
        assert sessions.find(connection, token, at=1_000.0 + sessions.LASTS_SECONDS - 1).principal == principal
        assert sessions.find(connection, token, at=1_000.0 + sessions.LASTS_SECONDS) is None
        assert sessions.find(connection, token + "x", at=1_001.0) is None
        assert token not in str(connection.exec_driver_sql("SELECT * FROM sessions").fetchall())


def test_revoking_or_another_password_signs_out_at_once(person, office):
    browser = person("lin")
    office.ledger.write(lambda c: users.set_password(c, "lin", HASH.replace("A", "B"), 1)).result()
    assert browser.get("/console/today").status_code == 303
    other = person("wang")
    office.ledger.write(lambda c: users.revoke(c, "wang", 1)).result()
    assert other.get("/console/today").status_code == 303
    assert other.sign_in("wang").status_code == 403


def test_a_password_changed_while_it_was_compared_opens_nothing(office, app):
    assert (
        office.ledger.write(
            lambda c: sessions.begin(c, Principal("lin", Role.COMPLIANCE), "password", "another hash")
        ).result()
        is None
    )


def test_one_comes_back_to_the_page_he_wanted_and_never_elsewhere(stranger):
    assert (
        stranger.get("/console/rules?tab=proofs").headers["location"]
        == "/console/sign-in?next=%2Fconsole%2Frules%3Ftab%3Dproofs"
    )
    page = stranger.get("/console/sign-in?next=//evil.example/console")
    assert 'name="next" value="/console"' in page.text


def test_who_may_come_in_follows_from_the_groups():
    groups = {"m": "marketing", "desk": "channel:call"}
    assert granted(groups, "mei", ["x", "m"]) == Principal("mei", Role.MARKETING)
    assert granted(groups, "li", ["desk"]) == Principal("call-li", Role.CHANNEL)
    assert granted(groups, "li", ["desk", "m"]) == Principal("li", Role.MARKETING)  # the first of bank.yaml
    for name, member in (
        ("mei", []),
        ("mei", ["x"]),
        ("", ["m"]),
        (" mei", ["m"]),
        ("m\nei", ["m"]),
        ("m" * 60, ["m"]),
    ):
        assert granted(groups, name, member) is None


@pytest.fixture
def proxied(office) -> Generator[Any]:
    (office.engine.home.path / "proxy.secret").write_text("s3cret-of-the-proxy\n")
    house, app = other_way(office, SignIn(way="proxy", groups={"nbo-compliance": "compliance"}, proxy=ProxySettings()))
    yield app
    house.close()


GOOD = {
    "X-Forwarded-User": "lin",
    "X-Forwarded-Groups": "staff, nbo-compliance",
    "X-Proxy-Secret": "s3cret-of-the-proxy",
}


def test_the_proxy_signs_in_whom_it_names(proxied):
    browser = Browser(proxied)
    browser.client.headers.update(GOOD)
    page = browser.get("/console/sign-in")
    assert "lin" in page.text
    assert browser.client.post("/console/sign-in", data={"csrf": browser.token(page)}).status_code == 303
    assert "lin · compliance" in browser.get("/console/today").text
    browser.client.headers["X-Forwarded-User"] = "wang"  # somebody else sits down at the machine
    assert browser.get("/console/today").status_code == 303


def test_a_header_that_is_not_the_proxys_opens_nothing(proxied):
    for wrong in (
        {"X-Proxy-Secret": "guess"},
        {"X-Proxy-Secret": ""},
        {"X-Forwarded-Groups": "staff"},
        {"X-Forwarded-User": ""},
    ):
        browser = Browser(proxied)
        page = browser.get("/console/sign-in", **GOOD)
        browser.client.headers.update(GOOD | wrong)
        answer = browser.client.post(
            "/console/sign-in", data={"csrf": browser.token(page), "name": "lin", "password": PASSWORD}
        )
        assert answer.status_code == 403
        assert SESSION not in browser.client.cookies
