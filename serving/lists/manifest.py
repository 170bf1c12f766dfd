"""A batch run in the chain: the journal holds its manifest's hash, the manifest holds the hash of every file."""

import hashlib
from pathlib import Path

from sqlalchemy.engine import Connection

from serving.ledger.book import Ledger
from serving.ledger.journal import Entered, enter, entries
from serving.ledger.seal import seal_of_row
from serving.ledger.verify import Finding
from serving.lists.files import ListError, read_manifest


def enter_manifest(ledger: Ledger, folder: Path, principal: str) -> bool:
    """Enter a written list's manifest into the journal; False where it stands there."""
    run, digest = folder.name, _sha256(folder / "manifest.json")

    def task(connection: Connection) -> bool:
        if any(entry.body["manifest_sha256"] == digest for entry in entries(connection, Entered.LIST, run)):
            return False
        contacts = read_manifest(folder).funnel.chosen
        enter(connection, Entered.LIST, run, principal, ledger.now_micros(), manifest_sha256=digest, contacts=contacts)
        return True

    with ledger.read() as connection:  # a list that stands is most often asked for again
        if any(entry.body["manifest_sha256"] == digest for entry in entries(connection, Entered.LIST, run)):
            return False
    return ledger.write(task, units=()).result()


def check_list(connection: Connection, lists: Path, run: str) -> tuple[list[Finding], int | None]:
    """What is wrong with a run's files, and the seal that covers its manifest (null: the tail).

    ListError where there is no list of that name, and never was.
    """
    folder = lists / run
    found = entries(connection, Entered.LIST, run)
    if not found:
        if not folder.is_dir():
            raise ListError(f"there is no list `{run}` in `{lists}`; its folder's name is what nbo plan printed")
        return [Finding("list", run, "its manifest was never entered into the ledger")], None
    seal = seal_of_row(connection, "journal", str(found[-1].entry_id))
    if not (folder / "manifest.json").is_file():
        return [Finding("list", run, "manifest.json is missing")], seal
    if _sha256(folder / "manifest.json") not in {entry.body["manifest_sha256"] for entry in found}:
        return [Finding("list", run, "manifest.json is not the one that was entered")], seal
    wrong = [name for name, digest in read_manifest(folder).files.items()
             if not (folder / name).is_file() or _sha256(folder / name) != digest]  # fmt: skip
    own = {*read_manifest(folder).files, "manifest.json", "recalls.csv"}
    strange = sorted(path.name for path in folder.iterdir() if path.name not in own and not path.name.startswith("."))
    return [
        *(Finding("list", run, f"{name} is not what was written") for name in wrong),
        *(Finding("list", run, f"{name} is no file of the list") for name in strange),
    ], seal


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
