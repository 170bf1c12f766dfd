"""The service as BentoML runs it: our routes and nothing else, bounded memory, a clean end."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from serving.commands.serve import kill_all
from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
DOOR = """
from concurrent.futures import Future
from serving.http.door import StoredAnswer
from serving.ledger.keys import Principal, Role
from serving.http.messages import ReadyResponse

class Door:
    def who(self, presented):
        return {"good": Principal("sms", Role.CHANNEL), "boss": Principal("boss", Role.ADMIN)}.get(presented)

    def ready(self):
        return ReadyResponse(ready=True, degraded=False, problems=(), snapshot_as_of=None)

    def close(self):
        print("the door is closed", flush=True)

    def decide(self, request, call):
        future = Future()
        if request.customer_id != "HANGS":
            future.set_result(StoredAnswer(b'{"decided":true}'))
        return future

    def __getattr__(self, name):
        return lambda *given: None

def open_door(home, serving):
    assert serving and str(home) == "the-home"
    return Door()
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    with served("serving.service:NextBestOffer", tmp_path_factory.mktemp("service"), str(REPOSITORY)) as running:
        yield running


@contextlib.contextmanager
def served(what: str, folder: Path, *paths: str) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    """`bentoml serve` of a service with DOOR; its port, process and log."""
    (folder / "door_of_a_test.py").write_text(DOOR)
    port, log = free_port(), folder / "log"
    environment = os.environ | {
        "BENTOML_CONFIG_OPTIONS": "services.NextBestOffer.traffic.timeout=1",  # before any of ours: must never answer
        "NBO_HOME": "the-home", "NBO_DOOR": "door_of_a_test:open_door",
        "PYTHONPATH": os.pathsep.join([str(folder), *paths]), "BENTOML_HOME": str(folder),
    }  # fmt: skip
    command = [sys.executable, "-m", "bentoml", "serve", what, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as out:
        child = subprocess.Popen(command, env=environment, cwd=folder, stdout=out, stderr=out)
    try:
        wait_until_live(port, child, log)
        yield port, child, log
    finally:
        kill_all(child)


def wait_until_live(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    """Return once /livez answers; fail with the log where the process ends first."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        try:
            if ask(port, "GET", "/livez")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(log.read_text())


def ask(port: int, method: str, path: str, body=None, **headers: str) -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        chunked = body is not None and not isinstance(body, bytes)
        connection.request(method, path, body, names, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


GOOD = {"Authorization": "Bearer good", "Idempotency_Key": "k", "Content_Type": "application/json"}


def test_only_our_routes_answer(service):
    port, _, _ = service
    assert ask(port, "GET", "/livez") == (200, b'{"status":"live"}')
    assert ask(port, "GET", "/readyz")[0] == 200
    for path in ("/", "/docs.json", "/schema.json", "/static_content/index.css", "/healthz",
                 "/v1/nothing", "/console"):  # fmt: skip
        status, body = ask(port, "GET", path)
        assert (status, json.loads(body)["error"]["code"]) == (404, "no_such_route"), path
    assert ask(port, "GET", "/metrics")[0] == 401


def test_p25_a_decision_needs_a_key(service):
    port, _, _ = service
    body = b'{"customer_id": "CANARY-4711"}'
    assert ask(port, "POST", "/v1/decisions", body)[0] == 401
    assert ask(port, "POST", "/v1/decisions", body, **GOOD) == (200, b'{"decided":true}')


@pytest.mark.parametrize("chunked", [False, True])
def test_p21_twenty_megabytes_are_refused_and_not_kept(service, chunked):
    port, child, _ = service
    chunk = b" " * 100_000
    workers = psutil.Process(child.pid).children(recursive=True)
    before = sum(worker.memory_info().rss for worker in workers)
    body = (chunk for _ in range(200)) if chunked else chunk * 200
    headers = GOOD | ({"Transfer_Encoding": "chunked"} if chunked else {})
    with contextlib.suppress(ConnectionError):  # it may hang up on a sender that goes on
        assert ask(port, "POST", "/v1/decisions", body, **headers)[0] == 413
    after = sum(worker.memory_info().rss for worker in workers)
    assert after - before < 10_000_000
    assert ask(port, "GET", "/livez")[0] == 200


def test_what_takes_too_long_is_our_answer_and_not_the_servers(service):
    """A body that comes too slowly, and a writer that hangs: the two that take longest. Both at once, to wait once."""
    port, _, _ = service
    body = b'{"customer_id": "HANGS"}'
    slow, hangs = (http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(2))
    for connection, part in ((slow, body[:5]), (hangs, body)):
        connection.putrequest("POST", "/v1/decisions")
        for name, value in GOOD.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        connection.send(part)
    for connection, status, code in ((slow, 408, "body_too_slow"), (hangs, 504, "outcome_unknown")):
        with contextlib.closing(connection):
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["error"]["code"]) == (status, code)
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"
    told = ask(port, "GET", "/metrics", Authorization="Bearer boss")[1].decode()
    for status in (408, 504):
        assert f'nbo_requests_total{{route="POST /v1/decisions",status="{status}"}} 1.0' in told


def test_it_stops_cleanly_and_p26_its_log_holds_no_id(service):
    """The last test of this file: it ends the service."""
    port, child, log = service
    ask(port, "POST", "/v1/decisions", b'{"customer_id": "CANARY-4711"}', **GOOD)
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0
    said = log.read_text()
    assert "the door is closed" in said
    assert "CANARY" not in said
    with pytest.raises(ConnectionRefusedError):
        ask(port, "GET", "/livez")


@pytest.mark.long
def test_a_bento_is_built_and_starts_from_its_own_files(tmp_path):
    """What its files say is heard, and not what the installed package says; needs a package index, as the install did."""
    environment = os.environ | {"BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True"}
    built = subprocess.run([sys.executable, "-m", "bentoml", "build", "--output", "tag"], cwd=REPOSITORY, env=environment,
                           capture_output=True, text=True, check=False)  # fmt: skip
    assert built.returncode == 0, built.stderr
    [package] = (tmp_path / "bentos" / "next-best-offer").glob("*/src")
    with (package / "serving" / "service.py").open("a") as file:
        file.write('\nprint("from the bento", flush=True)\n')
    for needed in ("rules/policies/retail.yaml", "serving/console/zh.json", "serving/changes/pack.html.j2"):
        assert (package / needed).is_file(), needed
    with served(built.stdout.strip().removeprefix("__tag__:"), tmp_path) as (port, _, log):
        assert ask(port, "GET", "/readyz")[0] == 200
        assert ask(port, "POST", "/v1/decisions")[0] == 401
    assert "from the bento" in log.read_text()
