"""Signing in through the bank's OpenID provider: the code flow with PKCE, by Authlib.

    /console/sign-in/oidc     -> the provider, with state, nonce and challenge kept in a short-lived signed cookie
    /console/sign-in/return   <- the provider; the ID token is checked, the groups become a role

The provider's addresses and keys are read from its discovery document when somebody first signs in.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import httpx
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from features.settings import HomeError
from features.signin import OidcSettings
from serving.console.cookies import PATH, inside, is_local
from serving.console.house import SECURITY_HEADERS, House
from serving.ledger.keys import Principal

FLOW_SECONDS = 600  # between leaving for the provider and coming back
COOKIE = "nbo_flow"
AWAY = "The bank's sign-on does not answer. Try again in a minute."
BROKEN = "The bank's sign-on gave no valid answer. Try again."
Refused = Callable[[Request, str], Response]
Welcome = Callable[[Request, str, str], Response]


def oidc_routes(
    house: House,
    granted: Callable[..., Principal | None],
    outside: str,
    opened: Callable[..., str | None],
    refused: Refused,
    welcome: Welcome,
) -> list[Route]:
    """The two routes; HomeError, one line, where the provider is not described well."""
    settings = house.settings.sign_in.oidc
    assert settings is not None  # features.signin has seen to it
    client = _client(house, settings)

    async def leave(request: Request) -> Response:
        request.session["next"] = inside(request.query_params.get("next", ""))
        try:
            answer: Response = await client.authorize_redirect(request, str(request.url_for("oidc_return")))
        except (httpx.HTTPError, OAuthError, ValueError):
            return refused(request, AWAY)
        answer.headers.update(SECURITY_HEADERS)
        return answer

    async def back(request: Request) -> Response:
        wanted = request.session.pop("next", "")
        try:
            told: dict[str, Any] = await client.authorize_access_token(request)
        except (httpx.HTTPError, OAuthError, JoseError, ValueError):
            return refused(request, BROKEN)
        claims = told.get("userinfo") or {}
        named = claims.get(settings.groups_claim) or []
        groups = [named] if isinstance(named, str) else [str(one) for one in named]
        found = granted(house.settings.sign_in.groups, str(claims.get(settings.name_claim) or ""), groups)
        if found is None:
            return refused(request, outside)
        token = await asyncio.get_running_loop().run_in_executor(house.pool, opened, house, found, "oidc")
        assert token is not None  # no password that could have changed
        return welcome(request, token, wanted)

    return [
        Route("/console/sign-in/oidc", _Kept(leave, house.secret), methods=["GET"]),
        Route("/console/sign-in/return", _Kept(back, house.secret), methods=["GET"], name="oidc_return"),
    ]


class _Kept:
    """An endpoint with a session of its own for the minutes of the flow: Secure unless on this machine, Lax for the way back."""

    def __init__(self, endpoint: Callable[[Request], Any], secret: bytes) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            response = await endpoint(Request(scope, receive))
            await response(scope, receive, send)

        key = f"console flow {secret.hex()}"
        self._apps: dict[bool, ASGIApp] = {
            https: SessionMiddleware(app, key, COOKIE, FLOW_SECONDS, f"{PATH}/sign-in", same_site="lax", https_only=https) for https in (True, False)
        }  # fmt: skip

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer the request."""
        await self._apps[not is_local(Request(scope))](scope, receive, send)


def _client(house: House, settings: OidcSettings) -> Any:
    home = house.office.engine.home.path
    file = home / settings.secret_file
    if not file.is_file():
        raise HomeError(f"`{file}` is missing; write the client's secret into it, readable by its owner only")
    # The authorities this machine trusts, or the bank's own; never a list that a package brings along.
    trusted = ssl.create_default_context(cafile=str(home / settings.ca_file) if settings.ca_file else None)
    return OAuth().register(
        "bank", client_id=settings.client_id, client_secret=file.read_text("utf-8").strip(),
        server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid profile", "code_challenge_method": "S256", "verify": trusted, "timeout": 10.0},
    )  # fmt: skip
