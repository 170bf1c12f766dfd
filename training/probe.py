"""The first load of a bundle on this machine, in a child process that may die of it.

A receipt `<sha>.probed` beside the bundle remembers that this LightGBM on this machine opened
these very bytes; the hash in the name makes it safe to trust.
"""

import platform
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from training.atomic import write_atomically
from training.errors import BundleError

_SECONDS = 120
_ROOT = Path(__file__).resolve().parents[1]


def ensure_probed(paths: Sequence[Path]) -> None:
    """Open bundles in one child process unless this machine has done so before.

    Raises:
        BundleError: The child died, took too long, or a golden row gave another score.
    """
    fresh = [path.resolve() for path in paths if not _is_probed(path)]
    if not fresh:
        return
    command = [sys.executable, "-m", "training.golden", *map(str, fresh)]
    try:
        child = subprocess.run(  # noqa: S603  # our own interpreter and hashes
            command, cwd=_ROOT, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _refused(fresh, f"no answer in {_SECONDS} s") from error
    if child.returncode != 0:
        lines = child.stderr.decode(errors="replace").strip().splitlines()
        raise _refused(fresh, lines[-1] if lines else f"ended with status {child.returncode}")
    for path in fresh:
        _remember(path)


@cache
def _machine() -> str:
    libraries = f"lightgbm {version('lightgbm')} numpy {np.__version__}"
    return f"{platform.platform()} {platform.machine()} {libraries}"


def _receipt(path: Path) -> Path:
    return path.parent / f"{path.name}.probed"


def _is_probed(path: Path) -> bool:
    receipt = _receipt(path)
    return receipt.is_file() and receipt.read_text() == _machine()


def _remember(path: Path) -> None:
    try:
        write_atomically(_receipt(path), _machine().encode())
    except OSError:  # a read-only model folder only means probing again next time
        return


def _refused(paths: Sequence[Path], why: str) -> BundleError:
    names = ", ".join(f"`{path.name[:12]}`" for path in paths)
    return BundleError(f"bundle {names}: first load in a child process failed: {why}; promote again or roll back")
