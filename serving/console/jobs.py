"""What takes long - a dry run, a what-if, proofs, a model's measurement - runs in a process of its own, one at a time.

    HOME/console/jobs/<id>/asked.json      kind, what was asked, who, when
                           progress.json   stage, done, of
                           answer.json     what came of it       | exactly one of the two,
                           error.txt       one line why not      | once it is over
                           *.svg           its pictures

So no decision waits for it, and a page can look at it from any worker. A job whose process is gone says so.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from threading import Lock
from typing import Any

WAITING_MAX = 8
KEPT_MAX = 60
SECONDS_MAX = 1800.0
_HOUSE = Path(__file__).resolve().parents[2]


class JobError(ValueError):
    """There is no such job, or no room for another; one line."""


@dataclass(frozen=True)
class Job:
    """One job as it stands. at: seconds since 1970, by the wall clock. answer, error: both null while it runs."""

    id: str
    kind: str
    asked: dict[str, Any]
    by: str
    at: float
    progress: tuple[str, int, int] | None
    answer: dict[str, Any] | None
    error: str | None

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.answer is not None or self.error is not None


class Jobs:
    """The jobs of a home, run one after the other by this process."""

    def __init__(self, home: Path) -> None:
        self._home, self._folder = home, home / "console" / "jobs"
        self._line = ThreadPoolExecutor(1, thread_name_prefix="nbo-job")
        self._lock, self._open = Lock(), set[str]()
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def close(self) -> None:
        """End what runs; start nothing more."""
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.terminate()
        self._line.shutdown(cancel_futures=True)

    def start(self, kind: str, asked: dict[str, Any], by: str) -> str:
        """The id of a new job; JobError where too many wait."""
        with self._lock:
            if len(self._open) >= WAITING_MAX:
                raise JobError(f"{WAITING_MAX} computations wait already; look again in a minute")
            job = secrets.token_hex(8)
            self._open.add(job)
        folder = self._folder / job
        folder.mkdir(parents=True)
        write_json(
            folder / "asked.json", {"kind": kind, "asked": asked, "by": by, "at": time.time(), "pid": os.getpid()}
        )
        self._line.submit(self._run, job)
        return job

    def look(self, job: str) -> Job:
        """The job as it stands; JobError where there is none."""
        if not job.isalnum() or not (self._folder / job / "asked.json").is_file():
            raise JobError("there is no such computation any more; start it again")
        folder = self._folder / job
        said = json.loads((folder / "asked.json").read_bytes())
        progress, answer = _read(folder / "progress.json"), _read(folder / "answer.json")
        error = (folder / "error.txt").read_text("utf-8") if (folder / "error.txt").is_file() else None
        if answer is None and error is None and not self._lives(job, said["pid"]):
            answer = _read(folder / "answer.json")  # it may have ended between the two looks
            error = None if answer is not None else "it was interrupted; start it again"
        return Job(
            job,
            said["kind"],
            said["asked"],
            said["by"],
            said["at"],
            tuple(progress) if progress else None,
            answer,
            error,
        )

    def last(self, kind: str, **about: Any) -> Job | None:
        """The newest job of a kind whose question says this; null: there is none."""
        found: list[tuple[float, str]] = []
        for path in self._folder.glob("*/asked.json"):
            said = _read(path)
            if said and said["kind"] == kind and all(said["asked"].get(name) == value for name, value in about.items()):
                found.append((said["at"], path.parent.name))
        return self.look(max(found)[1]) if found else None

    def picture(self, job: str, name: str) -> bytes | None:
        """A picture of a job; null where it has none of that name."""
        path = self._folder / job / name
        return (
            path.read_bytes()
            if job.isalnum() and name.endswith(".svg") and "/" not in name and path.is_file()
            else None
        )

    def _lives(self, job: str, pid: int) -> bool:
        """Whether somebody works on it: this process, or another worker that is still there."""
        with self._lock:
            if pid == os.getpid():
                return job in self._open
        return Path(f"/proc/{pid}").is_dir()

    def _run(self, job: str) -> None:
        folder = self._folder / job
        try:
            with self._lock:
                if self._closed:
                    return
                command = [sys.executable, "-m", "serving.console.working", str(self._home), str(folder)]
                self._child = subprocess.Popen(  # noqa: S603  # our own interpreter and constants; the id is ours
                    command, cwd=_HOUSE, env=os.environ | {"PYTHONPATH": str(_HOUSE)}, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            self._child.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._child.kill()  # pyright: ignore[reportOptionalMemberAccess]  # it was there to wait for
            (folder / "error.txt").write_text("it took more than half an hour and was ended", "utf-8")
        finally:
            with self._lock:
                self._child = None
                self._open.discard(job)
        self._tidy()

    def _tidy(self) -> None:
        """Throw away the oldest."""
        made = sorted(self._folder.glob("*/asked.json"), key=lambda path: path.stat().st_mtime)
        for path in made[:-KEPT_MAX]:
            rmtree(path.parent, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write it whole or not at all."""
    beside = path.with_name(f".{path.name}")
    beside.write_text(json.dumps(value, ensure_ascii=False), "utf-8")
    beside.replace(path)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
