"""`nbo serve`: the HTTP service of a home, in the foreground, until it is told to stop."""

import contextlib
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Annotated

import psutil
import typer
from pydantic import BaseModel
from sqlalchemy.engine import make_url

from features.home import Home
from features.terminal import AsJson
from rules.money import money
from serving.engine import EXPLORATION

SERVICE = "serving.service:NextBestOffer"
FOLDER = Path(__file__).resolve().parents[2]  # from where `serving` is imported
START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 30


class ServeError(ValueError):
    """The service cannot start, or ended by itself; one line with the remedy."""


class Serving(BaseModel):
    """`nbo serve --json`: printed once the service answers."""

    url: str
    """Where it answers."""
    home: str
    """What it serves."""
    pid: int
    """The process to send SIGTERM to: the one that printed this."""


def serve(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that serve; one on SQLite.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Serve a home over HTTP until SIGTERM or Ctrl-C; requests begun are answered first."""
    home = Home.open(context.obj)
    if workers > 1 and make_url(home.database_url).get_backend_name() == "sqlite":
        raise ServeError(f"--workers is {workers} and the ledger is SQLite, which has one; move the home to PostgreSQL")
    address = _address(host)
    _check_free(address, port)
    url = f"http://{f'[{address}]' if address.version == 6 else address}:{port}"
    print(f"starting the service of `{home.path}` on {url}", file=sys.stderr)
    if not address.is_loopback:
        print("note: keys travel unencrypted; put TLS in front of it", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="nbo-", ignore_cleanup_errors=True) as folder:
        complaint = Path(folder) / "complaint"
        environment = os.environ | {
            "NBO_HOME": str(home.path),
            "NBO_COMPLAINT": str(complaint),
            "NBO_WORKERS": str(workers),
            "BENTOML_HOME": folder,  # else it makes ~/bentoml
            "BENTOML_DO_NOT_TRACK": "True",
        }
        with _running(address, port, environment) as child:
            _wait_until_live(child, url, complaint)
            most = money(EXPLORATION.share * EXPLORATION.max_loss_minor, home.settings.currency)
            print(f"exploring {EXPLORATION.share:.0%} of decisions: expected to cost {most} at most"
                  " for each decision made", file=sys.stderr)  # fmt: skip
            print(f"serving on {url}, press Ctrl-C to stop", file=sys.stderr, flush=True)
            if as_json:
                answer = Serving(url=url, home=str(home.path), pid=os.getpid())
                print(answer.model_dump_json(), flush=True)
            code = child.wait()
            raise ServeError(f"the service ended by itself with code {code}; see its log above")


IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(host: str) -> IpAddress:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise ServeError(f"`{host}` is not an IP address; give one, such as 127.0.0.1") from None


def _check_free(address: IpAddress, port: int) -> None:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((str(address), port))
        except OSError as error:
            remedy = "choose another with --port or --host"
            raise ServeError(f"cannot listen on `{address}` port {port} ({error.strerror}); {remedy}") from None


@contextlib.contextmanager
def _running(address: IpAddress, port: int, environment: Mapping[str, str]) -> Generator[subprocess.Popen[bytes]]:
    """BentoML as a child. SIGTERM and Ctrl-C end the block quietly, and the child in any case."""
    command = [sys.executable, "-m", "bentoml", "serve", SERVICE, "--host", str(address)]
    command += ["--port", str(port), "--working-dir", str(FOLDER)]
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Its own session: Ctrl-C reaches us alone, and we pass it on once. Its log goes to stderr.
    child = subprocess.Popen(  # noqa: S603  # our own interpreter and constants
        command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(),
        start_new_session=True,
    )  # fmt: skip
    try:
        yield child
    except KeyboardInterrupt:
        print("stopping", file=sys.stderr, flush=True)
    finally:
        _stop(child)
        signal.signal(signal.SIGTERM, before)


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_SECONDS_MAX)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):  # too slow, or a second Ctrl-C
        kill_all(child)


def kill_all(child: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a process and all it has started: BentoML's workers lead sessions of their own, past a signal to its group."""
    if child.poll() is not None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        begun = psutil.Process(child.pid).children(recursive=True)
        child.kill()  # first, or it would start anew what has died
        for one in begun:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    child.wait()


def _wait_until_live(child: subprocess.Popen[bytes], url: str, complaint: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    probe = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:") + "/livez"
    while time.monotonic() < deadline:
        if complaint.exists() and (line := complaint.read_text(encoding="utf-8")):
            raise ServeError(line)
        if child.poll() is not None:
            raise ServeError("the service ended before it answered; see its log above")
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(probe, timeout=1).close()  # noqa: S310  # http to ourselves
            return
        time.sleep(0.1)
    raise ServeError(f"the service did not answer within {START_SECONDS_MAX} s; see its log above")
