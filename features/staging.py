"""The folders of a home in which an import is prepared; one import at a time, and none leaves anything behind."""

import fcntl
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from features.feed import FeedError
from features.home import Home

LOCK = ".data.lock"
TABLES, WRITTEN = ".import", ".import-source"  # the tables as they will stand; a source written out as files


@contextmanager
def alone(home: Home) -> Generator[Path]:
    """The empty folder for the tables, in the hands of this import alone; FeedError while another one runs.

    What an import that was killed has left goes first: it may hold a bank's customers.
    """
    home.path.mkdir(parents=True, exist_ok=True)
    with (home.path / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FeedError(f"`{home.path}`: another import is running; wait for its end and repeat") from None
        except OSError as error:
            raise FeedError(
                f"`{home.path}` cannot be locked: {error.strerror}; keep the home on a disk that can"
            ) from error
        folders = [home.path / name for name in (TABLES, WRITTEN)]
        _clear(folders)
        folders[0].mkdir()
        try:
            yield folders[0]
        finally:
            _clear(folders)


def written(staging: Path) -> Path:
    """A new folder beside the tables' for a source that has to be written out as files first."""
    folder = staging.with_name(WRITTEN)
    folder.mkdir()
    return folder


def _clear(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
