"""`nbo serve`: starts, says so, stops on SIGTERM; says in one line why it cannot."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
import typer

from features.home import Home, HomeError, Settings
from serving.commands import serve as module
from serving.commands.serve import ServeError, serve
from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[3]
NBO = """
import os, sys, typer
from pathlib import Path
from serving.commands.serve import serve

app = typer.Typer()

@app.callback()
def home(context: typer.Context) -> None:
    context.obj = Path(os.environ["NBO_HOME"])

app.command()(serve)
try:
    app(standalone_mode=False)
except ValueError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
"""
DOOR = """
from serving.http.messages import ReadyResponse

class Door:
    def ready(self):
        return ReadyResponse(ready=True, degraded=False, problems=(), snapshot_as_of=None)

    def close(self):
        print("the door is closed", flush=True)

    def __getattr__(self, name):
        return lambda *given: None

def good(home, serving):
    return Door()

def bad(home, serving):
    raise ValueError("another process serves this ledger")
"""


@pytest.fixture
def home(tmp_path) -> Home:
    return Home.create(tmp_path / "bank", Settings(zone="Asia/Shanghai"))


def started(home: Home, door: str, port: int, folder: Path) -> subprocess.Popen[str]:
    """`nbo serve --json` in a process of its own, as the front door would call it."""
    (folder / "door_of_a_test.py").write_text(DOOR)
    environment = os.environ | {
        "NBO_HOME": str(home.path), "NBO_DOOR": f"door_of_a_test:{door}",
        "PYTHONPATH": f"{folder}:{REPOSITORY}",
    }  # fmt: skip
    command = [sys.executable, "-c", NBO, "serve", "--json", "--port", str(port)]
    return subprocess.Popen(
        command, env=environment, cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_it_serves_until_it_is_told_to_stop(home, tmp_path):
    port = free_port()
    nbo = started(home, "good", port, tmp_path)
    try:
        assert nbo.stdout is not None
        said = json.loads(nbo.stdout.readline())
        assert said == {"url": f"http://127.0.0.1:{port}", "home": str(home.path), "pid": nbo.pid}
        with urllib.request.urlopen(said["url"] + "/readyz", timeout=10) as answer:
            assert answer.status == 200
        nbo.send_signal(signal.SIGTERM)
        out, err = nbo.communicate(timeout=30)
    finally:
        nbo.kill()
    assert nbo.returncode == 0, err
    assert out == "", "one JSON object and nothing else"
    assert f"serving on http://127.0.0.1:{port}, press Ctrl-C to stop" in err
    assert "the door is closed" in err
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(worker.pid, flush=True)
time.sleep(600)
"""


def test_who_does_not_stop_in_time_is_ended_with_his_workers(monkeypatch):
    """Workers lead sessions of their own: a signal to the group alone left them behind, listening."""
    monkeypatch.setattr(module, "STOP_SECONDS_MAX", 1)
    child = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    worker = psutil.Process(int(child.stdout.readline()))
    module._stop(child)
    assert child.returncode == -signal.SIGKILL
    _, alive = psutil.wait_procs([worker], timeout=10)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    module.kill_all(child)  # who has ended is left alone


def test_a_home_that_cannot_be_served_ends_it_with_one_line(home, tmp_path):
    nbo = started(home, "bad", free_port(), tmp_path)
    out, err = nbo.communicate(timeout=60)
    assert nbo.returncode == 2
    assert out == ""
    assert err.splitlines()[-1] == "error: another process serves this ledger"
    assert "Traceback" not in err


def test_a_port_in_use_is_named(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServeError) as refused:
            serve(context_of(home.path), port=port)
    assert str(refused.value) == (
        f"cannot listen on `127.0.0.1` port {port} (Address already in use); choose another with --port or --host"
    )


def test_a_host_has_to_be_an_address(home):
    with pytest.raises(ServeError, match=r"`bank\.example` is not an IP address"):
        serve(context_of(home.path), host="bank.example")


def test_what_is_no_home_is_not_served(tmp_path, monkeypatch):
    monkeypatch.setattr(module.subprocess, "Popen", pytest.fail)
    with pytest.raises(HomeError, match="is not a bank's home"):
        serve(context_of(tmp_path))


def context_of(path: Path) -> typer.Context:
    """A context as the front door hands it over."""
    command = typer.main.get_command(typer.Typer(callback=lambda: None))
    return typer.Context(command, obj=path)
