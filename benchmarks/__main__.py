"""`python -m benchmarks [NAME[.PART]] [--quick] [--json FILE]`: measure one room of the house, or all."""

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from benchmarks.table import Table, machine, write

HELPERS = ("__init__", "__main__", "table", "bank", "bookings", "by_hand", "peers", "echo", "load", "servers")


def main() -> int:
    """Run and print; 0 done, 2 no such benchmark."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in HELPERS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", help=f"one of {', '.join(names)}, a part of it after a dot; default: all")
    parser.add_argument("--quick", action="store_true", help="small tables: whether it runs, not how fast")
    parser.add_argument("--json", type=Path, help="also write the measurements to this file")
    asked = parser.parse_args()
    room, _, part = (asked.name or "").partition(".")
    if asked.name and room not in names:
        print(f"no benchmark `{asked.name}`; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    parts = list(getattr(import_module(f"benchmarks.{room}"), "PARTS", ())) if part else [part]
    if part not in parts:
        print(f"no part `{part}` of {room}; there are: {', '.join(parts) or 'none'}", file=sys.stderr)
        return 2
    print(machine())
    tables: list[Table] = []
    for name in [room] if room else names:
        run: Callable[..., list[Table]] = import_module(f"benchmarks.{name}").run
        tables += run(asked.quick, part) if part else run(asked.quick)
    if asked.json:
        write(tables, asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
