"""Backup of a home while it serves, and the drill that shows it can be restored: copy, restore, check the seal.

The ledger is copied with SQLite's online backup: one consistent state, the service goes on. On
PostgreSQL the server's own tools do it (docs/ledger.md).
"""

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError
from sqlalchemy.engine import make_url

from features.home import Home
from features.settings import write_settings, write_whole

LEDGER, NOTE = "nbo.db", "backup.json"
KEYS = ("secret.key", "keyring.json")
LEFT_OUT = ("mlruns", NOTE)


class BackupError(ValueError):
    """A backup cannot be made or restored; one line."""


class Backup(BaseModel):
    """`backup.json`: when, and the sha256 of every file. keys: whether the home's keys are in it."""

    at: datetime
    keys: bool
    files: dict[str, str]


def back_up(home: Home, target: Path, *, keys: bool = True) -> Backup:
    """Copy the home into a new folder, the ledger as of one instant; BackupError, one line.

    keys False: without secret.key and keyring.json, which then are kept elsewhere: who has both can read.
    """
    database = _database(home)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"`{target}` is not empty; name a new folder")
    target.mkdir(parents=True, exist_ok=True)
    with (
        closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(target / LEDGER)) as copy,
    ):
        source.backup(copy)
    for path in _files(home.path, database):
        if keys or path.name not in KEYS:
            to = target / path.relative_to(home.path)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, to)
    files = {str(path.relative_to(target)): _sha256(path) for path in sorted(target.rglob("*")) if path.is_file()}
    note = Backup(at=datetime.now(UTC), keys=keys, files=files)
    write_whole(target / NOTE, note.model_dump_json(indent=2).encode())
    return note


def restore(source: Path, target: Path, keys_from: Path | None = None) -> Home:
    """Copy a backup into a new home, every file checked; the home. The caller checks the seal.

    keys_from: the folder of secret.key and keyring.json, where the backup is without them.
    """
    note = _note(source)
    if target.exists():
        raise BackupError(f"`{target}` is there already; name a new folder")
    for name, digest in note.files.items():
        if not (source / name).is_file() or _sha256(source / name) != digest:
            raise BackupError(f"`{source}`: `{name}` is not what was backed up; take another backup")
    if not note.keys and (keys_from is None or not (keys_from / KEYS[0]).is_file()):
        raise BackupError(f"`{source}` holds no keys; give their folder with --keys")
    beside = target.with_name(f".{target.name}.restoring")
    shutil.rmtree(beside, ignore_errors=True)
    for name in note.files:
        to = beside / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, to)
    if keys_from is not None and not note.keys:
        for path in (keys_from / name for name in KEYS if (keys_from / name).is_file()):
            shutil.copy2(path, beside / path.name)
    beside.rename(target)
    for folder in ("data", "features", "models", "lists", "policies", "campaigns"):
        (target / folder).mkdir(exist_ok=True)  # an empty one is in no backup
    home = Home.open(target)
    if home.settings.database is not None:  # it names the old home's file
        write_settings(target / "bank.yaml", home.settings.model_copy(update={"database": None}))
    return Home.open(target)


def _database(home: Home) -> Path:
    address = make_url(home.database_url)
    if address.get_backend_name() != "sqlite":
        raise BackupError("the ledger is on a server; back it up with pg_dump, and the home's folder as files")
    database = Path(address.database or "")
    if not database.is_file():
        raise BackupError(f"`{home.path}` has no ledger yet; nbo plan or nbo serve makes it")
    return database


def _files(home: Path, database: Path) -> Iterator[Path]:
    for path in sorted(home.rglob("*")):
        inside = path.relative_to(home).parts
        own = path.name.startswith(database.name) and path.parent == database.parent
        if (
            path.is_file()
            and not own
            and inside[0] not in LEFT_OUT
            and not any(part.startswith(".") for part in inside)
        ):
            yield path


def _note(source: Path) -> Backup:
    try:
        return Backup.model_validate_json((source / NOTE).read_bytes())
    except (OSError, ValidationError):
        raise BackupError(f"`{source}` is no finished backup: backup.json is missing or damaged") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
