"""A scheduler that dies at its n-th statement or file: `python -m tests.serving.fused HOME N`; prints its steps."""

import sys
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Engine as Database

from features.home import Home
from serving.commands.lists import make_list
from serving.office import open_ledger
from serving.scheduler import alone, run_due
from tests.serving.ledger.test_torture import Fuse, _fused


def main(path: str, at: int) -> None:
    """Make what is due in the home; SIGKILL at step `at`."""
    fuse = Fuse(at)
    event.listen(Database, "do_connect", _fused(fuse))
    sys.addaudithook(lambda name, args: fuse.burn() if _is_step(name, args, f"{path}/lists") else None)
    home = Home.open(Path(path))
    with alone(home) as first, open_ledger(home) as ledger:
        assert first
        run_due(home, ledger, make_list)
    print(at - fuse.left)


def _is_step(name: str, args: tuple[object, ...], lists: str) -> bool:
    """Whether a file of the lists is about to be written, renamed or removed."""
    if name == "open":
        return str(args[0]).startswith(lists) and str(args[1] or "r") not in ("r", "rb")
    return name in ("os.rename", "os.mkdir", "os.remove") and str(args[0]).startswith(lists)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
