"""Servers as children of a benchmark, one at a time, and the load that is put on them."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serving.commands.serve import kill_all

FOLDER = Path(__file__).parents[1]
START_SECONDS_MAX = 120


@dataclass(frozen=True)
class Side:
    """One server of the comparison: how it is started and what it is asked."""

    name: str
    command: tuple[str, ...]  # of `python -m`, without the port
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    keyed: bool = False


@dataclass(frozen=True)
class Running:
    """A side that answers."""

    side: Side
    port: int

    def ask(
        self, bodies: Sequence[str], connections: int, seconds: float, rate: float | None = None
    ) -> dict[str, float]:
        """What `benchmarks.load` measured; see there."""
        plan = {"port": self.port, "path": self.side.path, "headers": dict(self.side.headers), "bodies": list(bodies),
                "connections": connections, "seconds": seconds, "rate": rate,
                "key": f"k{time.time_ns()}" if self.side.keyed else None}  # fmt: skip
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(plan, file)
            file.flush()
            command = [sys.executable, "-m", "benchmarks.load", file.name]
            done = subprocess.run(command, cwd=FOLDER, capture_output=True, check=True, text=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found | {"rate": found["answered"] / found["seconds"]}


@contextlib.contextmanager
def running(side: Side) -> Generator[Running]:
    """The side, answering; its whole process group ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="nbo-bench-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "log"
        environment = {**os.environ, "BENTOML_HOME": folder, "BENTOML_DO_NOT_TRACK": "True", **side.environment}
        with log.open("wb") as out:
            child = subprocess.Popen(  # our own interpreter and constants
                [sys.executable, "-m", *side.command, "--port", str(port)], cwd=FOLDER, env=environment, stdout=out,
                stderr=out, start_new_session=True,
            )  # fmt: skip
        try:
            _wait(port, child, log)
            yield Running(side, port)
        finally:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(20)
            kill_all(child)


def _wait(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=1).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"the server did not answer:\n{log.read_text()[-2000:]}")
