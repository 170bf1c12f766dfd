"""How to call the service: a key, an Idempotency-Key on every write, and the same key again when in doubt."""

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

TRY_AGAIN = (408, 429, 503, 504)  # nothing was decided, or it is not known whether: the same key settles it


class Refused(Exception):
    """The service said no, and meant it. code: a slug such as `claim_refused`; status: 4xx or 5xx.

    code is `not_the_service` where something on the way answered in its place, a proxy say, with any status.
    """

    def __init__(self, status: int, code: str, line: str) -> None:
        super().__init__(line)
        self.status, self.code = status, code


class Client:
    """One key's way into the service at `url`."""

    def __init__(self, url: str, key: str, tries: int = 5) -> None:
        self.url, self.key, self.tries = url.rstrip("/"), key, tries

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """What a reading route answers."""
        found = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", f"{path}?{urllib.parse.urlencode(found)}" if found else path, None, {})

    def post(self, path: str, key: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """What a writing route answers.

        Args:
            key: Names this one wish, also after a crash: take it from your own data (`sent-<contact_id>`), or write
                it down before you use it; never a random number that is forgotten. The same key again gives the same bytes and no second effect.
        """
        return self._ask("POST", path, json.dumps(body or {}).encode(), {"Idempotency-Key": key})

    def _ask(self, method: str, path: str, body: bytes | None, more: dict[str, str]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"} | more
        for turn in range(self.tries):
            request = urllib.request.Request(self.url + path, body, headers, method=method)
            try:
                status, answer = _sent(request)
            except (OSError, http.client.HTTPException):  # the line broke: did it arrive? Ask again with the same key.
                if turn == self.tries - 1:
                    raise
            else:
                if status < 400:
                    return _told(status, answer)
                if status not in TRY_AGAIN or turn == self.tries - 1:
                    raise _refusal(status, answer)
            time.sleep(0.1 * 2**turn)
        raise AssertionError("the last turn returns or raises")


def _sent(request: urllib.request.Request) -> tuple[int, bytes]:
    """Status and body of what came back, an error's too."""
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _told(status: int, body: bytes) -> dict[str, Any]:
    """The answer as the service gave it; Refused where it is not the service's."""
    try:
        found = json.loads(body)
    except ValueError:
        raise _refusal(status, body) from None
    if not isinstance(found, dict):
        raise _refusal(status, body)
    return found


def _refusal(status: int, body: bytes) -> Refused:
    """The error that a body tells, in one line whatever its shape: what stands between answers as it likes."""
    try:
        told = json.loads(body)["error"]
        return Refused(status, str(told["code"]), str(told["message"]))
    except (ValueError, TypeError, KeyError):
        said = " ".join(body.decode("utf-8", "replace").split())[:120]
        line = f"status {status}, not from the service but from something before it: `{said}`; look at the address and the proxy"
        return Refused(status, "not_the_service", line)
