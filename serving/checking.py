"""`python -m serving.checking HOME CHANGE`: the check of one change, in a process of its own."""

import sys
from pathlib import Path

from features.home import Home
from rules.review import Actor
from serving.changes.desk import examine
from serving.changes.live import open_engine
from serving.office import open_ledger


def main(home: Path, change_id: str) -> None:
    """Check the change and enter what was found."""
    at = Home.open(home)
    with open_ledger(at) as ledger:
        examine(open_engine(at, ledger), ledger, change_id, Actor("checker", "admin"))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2])
    except ValueError as error:  # the change stays unchecked, and says so; `nbo rules recheck` tries again
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
