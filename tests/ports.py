"""A port for a server that a test starts in another process."""

import contextlib
import secrets
import socket

_FIRST, _NUMBER = 20_000, 10_000  # below those that a system gives away by itself


def free_port() -> int:
    """A port nobody listens on just now, and nobody is given who asks for any: BentoML binds some of those before ours."""
    while True:
        port = _FIRST + secrets.randbelow(_NUMBER)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
