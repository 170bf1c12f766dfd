"""Signing in through the bank's OpenID provider, against a small provider of the test's own."""

import json
import threading
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from joserfc import jwk, jwt

from features.signin import OidcSettings, SignIn
from serving.console.cookies import SESSION
from tests.serving.console.conftest import Browser, other_way


class Provider(HTTPServer):
    """A small OpenID provider: discovery, keys, and tokens for whatever claims it is told to give."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.issuer = f"http://127.0.0.1:{self.server_port}"
        self.key = jwk.RSAKey.generate_key(2048, {"kid": "k1"})
        self.claims: dict[str, Any] = {"preferred_username": "lin", "groups": ["nbo-compliance"]}
        self.nonce, self.asked, self.signed_by = "", dict[str, list[str]](), self.key


class _Answer(BaseHTTPRequestHandler):
    server: Provider

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        issuer = self.server.issuer
        if self.path.endswith("openid-configuration"):
            self._say(
                {
                    "issuer": issuer,
                    "authorization_endpoint": f"{issuer}/auth",
                    "token_endpoint": f"{issuer}/token",
                    "jwks_uri": f"{issuer}/keys",
                }
            )
        else:
            self._say({"keys": [self.server.key.as_dict(private=False)]})

    def do_POST(self) -> None:
        provider = self.server
        provider.asked = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        now = int(time.time())
        claims = {
            "iss": provider.issuer,
            "sub": "1",
            "aud": "nbo",
            "iat": now,
            "exp": now + 300,
            "nonce": provider.nonce,
        } | provider.claims
        token = jwt.encode({"alg": "RS256", "kid": "k1"}, claims, provider.signed_by)
        self._say({"access_token": "a", "token_type": "Bearer", "id_token": token})

    def _say(self, what: dict[str, Any]) -> None:
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def provider() -> Generator[Provider]:
    made = Provider()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def at_the_bank(office, provider) -> Generator[Any]:
    (office.engine.home.path / "oidc.secret").write_text("of-the-client")
    settings = SignIn(
        way="oidc",
        groups={"nbo-compliance": "compliance"},
        oidc=OidcSettings(issuer=provider.issuer, client_id="nbo"),
    )
    house, app = other_way(office, settings)
    yield app
    house.close()


def gone_and_back(app, provider, **changed: str):
    """(the browser, the answer to its return from the provider)."""
    browser = Browser(app)
    away = browser.get("/console/sign-in/oidc?next=/console/rules")
    assert away.status_code in (302, 303), away.text
    query = parse_qs(urlparse(away.headers["location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    provider.nonce = query["nonce"][0]
    back = {"code": "c", "state": query["state"][0]} | changed
    return browser, browser.client.get("/console/sign-in/return", params=back)


def test_the_banks_provider_signs_in_whom_it_knows(at_the_bank, provider):
    browser, answer = gone_and_back(at_the_bank, provider)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/rules"), answer.text[-800:]
    assert "lin · compliance" in browser.get("/console/rules").text
    assert provider.asked["code_verifier"]
    assert browser.get("/console/sign-in").text.count('type="password"') == 0


def test_who_is_in_no_group_stays_outside(at_the_bank, provider):
    known = provider.claims
    for claims in ({"groups": ["staff"]}, {"groups": []}, {"preferred_username": None}, {"groups": None}):
        provider.claims = known | claims
        browser, answer = gone_and_back(at_the_bank, provider)
        assert answer.status_code == 403
        assert "in no group" in answer.text
        assert SESSION not in browser.client.cookies


def test_a_token_that_is_not_for_us_opens_nothing(at_the_bank, provider):
    known = provider.claims
    for claims in ({"aud": "another"}, {"exp": 1}, {"nonce": "another"}, {"iss": "http://127.0.0.1:1"}):
        provider.claims = known | claims
        browser, answer = gone_and_back(at_the_bank, provider)
        assert answer.status_code == 403, claims
        assert SESSION not in browser.client.cookies


def test_a_forged_signature_or_state_opens_nothing(at_the_bank, provider):
    _, answer = gone_and_back(at_the_bank, provider, state="another")
    assert answer.status_code == 403
    provider.signed_by = jwk.RSAKey.generate_key(2048, {"kid": "k1"})
    _, answer = gone_and_back(at_the_bank, provider)
    assert answer.status_code == 403


def test_a_provider_that_does_not_answer_is_told_in_one_line(office):
    (office.engine.home.path / "oidc.secret").write_text("x")
    oidc = OidcSettings(issuer="http://127.0.0.1:9", client_id="nbo")
    house, app = other_way(office, SignIn(way="oidc", groups={"g": "admin"}, oidc=oidc))
    answer = Browser(app).get("/console/sign-in/oidc")
    assert answer.status_code == 403
    assert "does not answer" in answer.text
    house.close()
