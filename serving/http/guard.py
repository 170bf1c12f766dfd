"""What stands between the network and a handler: keys, body limits, a bounded crowd, headers."""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Generator, Iterable, MutableMapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

from features.tables import MARKETING_CHANNELS
from serving.http.errors import BadRequest, Busy, DoorError, Forbidden, TooLate
from serving.http.waiting import is_done_within
from serving.ledger.keys import Principal, Role

BODY_BYTES_MAX = 64 * 1024
BODY_SECONDS_MAX = 5.0
KEY_CHARACTERS_MAX = 256
RENEWED_AT_ONCE = 8  # keys asked again beside their requests: where the database hangs, no queue of them
DEADLINE_MS_MAX = 60_000

Headers = dict[bytes, bytes]
Receive = Callable[[], Any]

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Unauthorised(DoorError):
    """There is no key, or not one of ours."""

    status, code = 401, "unauthorised"


class TooLarge(DoorError):
    """The body is larger than its route takes."""

    status, code = 413, "body_too_large"


class WrongMedia(DoorError):
    """The body is not JSON, by its own header."""

    status, code = 415, "json_only"


class TooSlow(DoorError):
    """The body did not come in time."""

    status, code = 408, "body_too_slow"


def headers_of(scope: MutableMapping[str, Any]) -> Headers:
    """The request's headers, lower case; of a header sent twice the last one."""
    return dict(scope["headers"])


def check_media(headers: Headers) -> None:
    """Let JSON and empty bodies pass; WrongMedia for the rest, packed bodies included."""
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    empty = headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers
    if kind != b"application/json" and not (kind == b"" and empty):
        raise WrongMedia("send Content-Type application/json; nothing else is read")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise WrongMedia("send the body unpacked, without Content-Encoding")


async def read_limited(headers: Headers, receive: Receive, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The whole body, at most so large; TooLarge before more than that is kept in memory.

    A body announced too large is refused unread. TooSlow: it was not there within 5 s.
    """
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit():
        raise BadRequest("Content-Length is not a number")
    if len(announced) > 12 or int(announced) > bytes_max:
        raise TooLarge(f"body is larger than {bytes_max} bytes; send less at once")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BadRequest("the connection closed before the whole body was there")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > bytes_max:
                    raise TooLarge(f"body is larger than {bytes_max} bytes; send less at once")
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise TooSlow("body did not come within 5 seconds; send it whole") from None


def idempotency_key(headers: Headers) -> str:
    """The Idempotency-Key of a write; BadRequest where it is missing or unfit."""
    key = headers.get(b"idempotency-key", b"")
    if not re.fullmatch(rb"[!-~]{1,128}", key):
        raise BadRequest(
            "header `Idempotency-Key` is missing or not 1 to 128 visible ASCII characters;"
            " send a new one with each write and the same one when you repeat it",
            code="idempotency_key_missing",
        )
    return key.decode()


def deadline_after_seconds(headers: Headers, seconds_max: float) -> float:
    """How long the caller waits, by `X-Deadline-Ms`: never longer than the service does."""
    text = headers.get(b"x-deadline-ms")
    if text is None:
        return seconds_max
    if not re.fullmatch(rb"[1-9]\d{0,4}", text) or int(text) > DEADLINE_MS_MAX:
        raise BadRequest(f"header `X-Deadline-Ms` should be a number from 1 to {DEADLINE_MS_MAX}")
    return min(int(text) / 1000, seconds_max)


class Turnstile:
    """At most so many requests at once; the next one is Busy, and nothing waits."""

    def __init__(self, requests_max: int) -> None:
        self._requests_max = requests_max
        self.inside = 0

    @contextmanager
    def entered(self) -> Generator[None]:
        """A place while the block runs; Busy where all are taken."""
        if self.inside >= self._requests_max:
            raise Busy("too many requests at once; repeat it in a second, with the same key")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


class Keyring:
    """Who presents a key: asked of the door, remembered for a second.

    A key revoked or expired works for at most `seconds_kept` longer. One that is in use is asked again beside its
    requests, from half that time on, so that none of them waits. Unknown keys are not remembered, and only so many are
    looked up at once; no key is kept as such.
    """

    def __init__(
        self,
        who: Callable[[str], Principal | None],
        pool: Executor,
        *,
        seconds_kept: float = 1.0,
        kept_max: int = 10_000,
        lookups_max: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._who, self._pool, self._clock = who, pool, clock
        self._seconds_kept, self._kept_max = seconds_kept, kept_max
        self._kept: dict[bytes, tuple[Principal, float]] = {}
        self._renewing = set[bytes]()
        self._lookups = Turnstile(lookups_max)

    async def principal(self, headers: Headers, seconds: float) -> Principal:
        """The owner of the request's bearer key; Unauthorised where there is none, TooLate after `seconds`."""
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not 0 < len(key) <= KEY_CHARACTERS_MAX:
            raise Unauthorised("send the header `Authorization: Bearer KEY`; nbo keys add makes one")
        digest, now = hashlib.sha256(key).digest(), self._clock()
        kept = self._kept.get(digest)
        if kept is not None and now < kept[1]:
            if now >= kept[1] - self._seconds_kept / 2:
                self._renew(digest, key, now)
            return kept[0]
        with self._lookups.entered():
            looked_up = self._pool.submit(self._who, key.decode("latin-1"))
            try:
                if not await is_done_within(seconds, looked_up):
                    raise TooLate("whose key it is was not found in time; nothing was done, repeat the request")
            finally:
                looked_up.cancel()
        if (owner := self._keep(digest, looked_up.result(), now)) is None:
            raise Unauthorised("the key is unknown, expired or revoked; ask for a new one")
        return owner

    def _renew(self, digest: bytes, key: bytes, now: float) -> None:
        if digest in self._renewing or len(self._renewing) >= RENEWED_AT_ONCE:
            return

        def found(done: Future[Principal | None]) -> None:
            self._renewing.discard(digest)
            # Refused meanwhile, it stays so; where the door cannot say, it is kept no longer than it was.
            if digest in self._kept and done.exception() is None:
                self._keep(digest, done.result(), now)

        self._renewing.add(digest)
        try:
            self._pool.submit(self._who, key.decode("latin-1")).add_done_callback(found)
        except RuntimeError:  # the service ends
            self._renewing.discard(digest)

    def _keep(self, digest: bytes, owner: Principal | None, asked_at: float) -> Principal | None:
        """The owner, remembered from when he was asked for; what was remembered of none is forgotten."""
        if owner is None:
            self._kept.pop(digest, None)
            return None
        if len(self._kept) >= self._kept_max:
            self._kept.clear()
        self._kept[digest] = (owner, asked_at + self._seconds_kept)
        return owner


def channel_of(principal: Principal) -> str | None:
    """The channel a channel key is bound to: the first word of its name. Null: every channel.

    `sms`, `sms-gateway` and `sms.2` are keys of the channel sms. Forbidden where a channel key's
    name begins with no channel: what it may see cannot be told.
    """
    if principal.role is not Role.CHANNEL:
        return None
    word = re.split(r"[^a-z0-9]", principal.name.lower())[0]
    if word not in MARKETING_CHANNELS:
        raise Forbidden(
            "this channel key is bound to no channel; name it after one, such as `sms-gateway`",
            code="key_without_channel",
        )
    return word


def check_channel(principal: Principal, channel: str) -> None:
    """Forbidden where the channel is another than the key's own."""
    if (own := channel_of(principal)) is not None and own != channel:
        raise Forbidden("this key reads and moves the contacts of its own channel only")


def check_role(principal: Principal, roles: Iterable[Role]) -> None:
    """Forbidden where the key's role is none of these."""
    if principal.role not in roles:
        needed = ", ".join(sorted(roles))
        raise Forbidden(f"role `{principal.role}` may not do this; it takes one of: {needed}")
