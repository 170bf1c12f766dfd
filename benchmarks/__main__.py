"""`python -m benchmarks [NAME] [--quick] [--json FILE]`: measure one room of the house, or all."""

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from benchmarks.table import Table, machine, write

HELPERS = ("__init__", "__main__", "table", "bank", "bookings", "peers", "echo", "load", "servers")


def main() -> int:
    """Run and print; 0 done, 2 no such benchmark."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in HELPERS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", help=f"one of {', '.join(names)}; default: all")
    parser.add_argument("--quick", action="store_true", help="small tables: whether it runs, not how fast")
    parser.add_argument("--json", type=Path, help="also write the measurements to this file")
    asked = parser.parse_args()
    if asked.name not in (None, *names):
        print(f"no benchmark `{asked.name}`; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    print(machine())
    tables: list[Table] = []
    for name in [asked.name] if asked.name else names:
        run: Callable[[bool], list[Table]] = import_module(f"benchmarks.{name}").run
        tables += run(asked.quick)
    if asked.json:
        write(tables, asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
