"""The console's three cookies, and the token that shows a form to be ours.

    nbo_session   the session's token       HttpOnly, SameSite=Lax, Secure but on this machine
    nbo_visit     random, before sign-in    likewise
    nbo_language  en or zh                  likewise

Lax, not Strict: else a link in a mail, or the way back from the bank's provider, would find nobody signed in. What
changes anything is a POST, which Lax does not send from elsewhere, and each carries a token besides.
"""

import hmac
import re
import secrets
from hashlib import sha256
from ipaddress import ip_address

from starlette.requests import Request
from starlette.responses import Response

SESSION, VISIT, LANGUAGE = "nbo_session", "nbo_visit", "nbo_language"
PATH = "/console"
YEAR_SECONDS = 365 * 86_400
_NEXT = re.compile(r"/console(/[A-Za-z0-9_.~%@:+=-]+)*/?(\?[A-Za-z0-9_.~%@:+=&-]*)?")


def set_cookie(request: Request, response: Response, name: str, value: str, seconds: int | None = None) -> None:
    """Put it on the response; seconds null: until the browser is closed."""
    response.set_cookie(name, value, max_age=seconds, path=PATH, httponly=True, samesite="lax", secure=not is_local(request))  # fmt: skip


def drop_cookie(response: Response, name: str) -> None:
    """Take it from the browser."""
    response.delete_cookie(name, path=PATH, httponly=True, samesite="lax")


def is_local(request: Request) -> bool:
    """Whether the browser believes to talk to its own machine, where a connection needs no TLS."""
    host = request.url.hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def new_visit() -> str:
    """A value for nbo_visit."""
    return secrets.token_urlsafe(24)


def form_token(secret: bytes, anchor: str) -> str:
    """The token of every form that is shown to the holder of that session or visit."""
    return hmac.new(secret, b"console form\0" + anchor.encode(), sha256).hexdigest()


def is_ours(request: Request, secret: bytes, anchor: str, presented: str) -> bool:
    """Whether a form was shown by us, to this browser, and comes from our own page."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    return hmac.compare_digest(form_token(secret, anchor).encode(), presented.encode())


def inside(path: str) -> str:
    """The path, where it is one of the console's; else the console's first page: nobody is sent elsewhere."""
    return path if _NEXT.fullmatch(path) and "/.." not in path and "/./" not in path else PATH
