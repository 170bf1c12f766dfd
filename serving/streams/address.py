"""A broker's address as one writes it, and what of it may be shown."""

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

BROKERS = {"nats": "nats", "tls": "nats", "amqp": "rabbit", "amqps": "rabbit", "kafka": "kafka", "kafka+ssl": "kafka"}
_PREFIX = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class StreamError(ValueError):
    """A stream cannot be consumed; one line: what, where, remedy. Credentials are never in it."""


@dataclass(frozen=True)
class StreamAddress:
    """Where a broker answers. kind: nats, rabbit or kafka; url: whole, with credentials; shown: without them."""

    kind: str
    url: str = field(repr=False)
    shown: str = ""
    servers: tuple[str, ...] = ()
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    encrypted: bool = False


def read_address(url: str) -> StreamAddress:
    """The address in a URL: nats://, tls:// (NATS), amqp://, amqps://, kafka://host:port,host:port, kafka+ssl://.

    Raises:
        StreamError: It names no broker we know, or no host.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    kind = BROKERS.get(parts.scheme)
    if kind is None:
        known = ", ".join(f"{name}://" for name in BROKERS)
        raise StreamError(f"the stream's URL names no broker known here; it begins with one of {known}")
    credentials, _, hosts = parts.netloc.rpartition("@")
    servers = tuple(host for host in hosts.split(",") if host)
    if not servers:
        raise StreamError(f"the stream's URL names no host; write {parts.scheme}://127.0.0.1:PORT")
    user, _, password = credentials.partition(":")
    return StreamAddress(
        kind=kind, url=url, shown=f"{parts.scheme}://{hosts}", servers=servers,
        user=unquote(user) or None, password=unquote(password) or None,
        encrypted=parts.scheme in ("tls", "amqps", "kafka+ssl"),
    )  # fmt: skip


def check_prefix(prefix: str) -> str:
    """The first word of all subjects, queues and topics; StreamError where no broker would take it."""
    if not _PREFIX.fullmatch(prefix):
        raise StreamError(f"--prefix `{prefix}` is no name; write small letters, digits, - and _, such as nbo")
    return prefix
