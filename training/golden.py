"""What the child process of training/probe.py runs: open bundles and score their golden rows.

python -m training.golden BUNDLE...      exit 0: every golden row gave its score
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.bundle import golden_rows, load_bundle


def main(arguments: Sequence[str]) -> int:
    """Open each bundle and compare its golden scores; 1 and a line on stderr where one differs."""
    for argument in arguments:
        path = Path(argument)
        try:
            bundle = load_bundle(path)
        except ValueError as error:
            print(str(error).splitlines()[0], file=sys.stderr)
            return 1
        for part, (rows, scores) in golden_rows(path).items():
            if not np.array_equal(bundle.parts[part].predict(rows), scores, equal_nan=True):
                print(f"part `{part}` gives other scores than when it was trained", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    # LightGBM loads them for wrappers of its own where it finds them: more than all the rest of the check. Scoring needs neither.
    for unneeded in ("pandas", "sklearn"):
        sys.modules[unneeded] = None  # pyright: ignore[reportArgumentType]
    sys.exit(main(sys.argv[1:]))
