"""What the client makes of answers that are not the service's."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from examples.client import Client, Refused

PAGE = b"<html>\n<h1>Bad gateway</h1>\n" + b"<!-- padding -->\n" * 99 + b"</html>"


@contextmanager
def answering(status: int, body: bytes, *, breaks: bool = False) -> Generator[str]:
    """The address of something that answers every request so; breaks: the first time it stops amid the body."""
    sound = iter([not breaks])

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if next(sound, True) else body[:-1])

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.mark.parametrize(("status", "body", "said"), [
    (502, PAGE, "<h1>Bad gateway</h1>"),
    (503, b'{"error": "upstream"}', "upstream"),
    (503, b'{"error": {"code": 7}}', '"code": 7'),
    (404, b"[]", "[]"),
    (400, b"null", "null"),
    (500, b"\xff\xfe", "\ufffd"),
    (504, b"", "``"),
    (200, b"<html>Sign in</html>", "Sign in"),
    (200, b"[]", "[]"),
])  # fmt: skip
def test_an_answer_of_another_shape_is_one_clear_line(status: int, body: bytes, said: str) -> None:
    with answering(status, body) as url, pytest.raises(Refused) as no:
        Client(url, "key", tries=2).get("/v1/contacts")
    assert (no.value.status, no.value.code) == (status, "not_the_service")
    line = str(no.value)
    assert line.startswith(f"status {status}, not from the service") and said in line
    assert "\n" not in line and len(line) < 250


def test_the_services_own_error_is_told_as_it_stands() -> None:
    body = b'{"error": {"code": "claim_refused", "message": "do not send"}}'
    with answering(409, body) as url, pytest.raises(Refused) as no:
        Client(url, "key").get("/v1/contacts")
    assert (no.value.status, no.value.code, str(no.value)) == (409, "claim_refused", "do not send")


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    with answering(200, b'{"contacts": []}', breaks=True) as url:
        assert Client(url, "key", tries=2).get("/v1/contacts") == {"contacts": []}


def test_a_refusal_that_breaks_off_is_asked_for_again() -> None:
    body = b'{"error": {"code": "claim_refused", "message": "do not send"}}'
    with answering(409, body, breaks=True) as url, pytest.raises(Refused, match="do not send"):
        Client(url, "key", tries=2).get("/v1/contacts")
