"""A scheduler that dies at its n-th statement or file: `python -m tests.serving.fused`, each line of stdin `N HOME`.

Each is a process of its own, forked from this one, which has loaded everything and started no thread. Answers `done STEPS`,
or `ended CODE`.
"""

import os
import sys
import traceback
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Engine as Database

from features.home import Home
from serving.commands.lists import make_list
from serving.office import open_ledger
from serving.scheduler import run_due
from serving.standby import alone
from tests.serving.ledger.test_torture import Fuse, _fused


def serve() -> None:
    """Answer line by line."""
    for line in sys.stdin:
        at, path = line.rstrip("\n").split(" ", 1)
        if (pid := os.fork()) == 0:
            _child(path, int(at))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            print(f"ended {code}", flush=True)


def _child(path: str, at: int) -> None:
    code = 1
    try:
        print(f"done {run(path, at)}", flush=True)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def run(path: str, at: int) -> int:
    """Make what is due in the home; SIGKILL at step `at`; how many steps it took."""
    fuse = Fuse(at)
    event.listen(Database, "do_connect", _fused(fuse))
    sys.addaudithook(lambda name, args: fuse.burn() if _is_step(name, args, f"{path}/lists") else None)
    home = Home.open(Path(path))
    with alone(home) as first, open_ledger(home) as ledger:
        assert first
        run_due(home, ledger, make_list)
    return at - fuse.left


def _is_step(name: str, args: tuple[object, ...], lists: str) -> bool:
    """Whether a file of the lists is about to be written, renamed or removed."""
    if name == "open":
        return str(args[0]).startswith(lists) and str(args[1] or "r") not in ("r", "rb")
    return name in ("os.rename", "os.mkdir", "os.remove") and str(args[0]).startswith(lists)


if __name__ == "__main__":
    serve()
