"""A live set: the files that say together what may be offered to whom - policy, catalogue, campaigns.

Named by its revision, the hash of its files' names and hashes: equal files, equal revision. A change is a
patch: files by name with their new text, or null where the file goes.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rules.errors import PolicyError

CATALOGUE_FILE = "catalogue.yaml"
FILE_CHARACTERS_MAX = 1_000_000
FILES_MAX = 1_000
_NAME = re.compile(r"catalogue\.yaml|(policies|campaigns)/[A-Za-z0-9][A-Za-z0-9_.-]{0,79}\.yaml")
Files = Mapping[str, str]
Patch = Mapping[str, str | None]


def check_name(name: str) -> str:
    """The name as it is; PolicyError where no file of a live set has such a name."""
    if not _NAME.fullmatch(name):
        raise PolicyError(
            f"`{name[:80]}` is no file of a live set; there are catalogue.yaml, policies/NAME.yaml, campaigns/NAME.yaml"
        )
    return name


def files_in(folder: Path) -> dict[str, str]:
    """Name -> text of the files of a home, or of a folder laid out like one; PolicyError where one cannot be read."""
    paths = [folder / CATALOGUE_FILE, *(p for room in ("policies", "campaigns") for p in sorted((folder / room).glob("*.yaml")))]  # fmt: skip
    found: dict[str, str] = {}
    for path in paths:
        if path.is_file():
            try:
                text = path.read_bytes().decode()  # as it is: line ends are part of it
            except UnicodeDecodeError:
                raise PolicyError("is not UTF-8; save it as UTF-8", file=str(path)) from None
            found[check_name(str(path.relative_to(folder)))] = text
    return found


def write_files(files: Files, folder: Path) -> None:
    """Lay the files out in a folder, like a home's."""
    for name, text in files.items():
        path = folder / check_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


@contextmanager
def laid_out(files: Files) -> Generator[Path]:
    """A folder with the files, laid out like a home, gone after."""
    with tempfile.TemporaryDirectory(prefix="nbo-set-") as folder:
        write_files(files, Path(folder))
        yield Path(folder)


def text_sha256(text: str) -> str:
    """sha256 of a file's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def manifest_of(files: Files) -> str:
    """Canonical JSON: name -> sha256."""
    return json.dumps({name: text_sha256(text) for name, text in files.items()}, sort_keys=True, separators=(",", ":"))


def revision_of(files: Files) -> str:
    """sha256 of the manifest."""
    return hashlib.sha256(manifest_of(files).encode()).hexdigest()


def patched(files: Files, patch: Patch) -> dict[str, str]:
    """The files with the patch applied; PolicyError where a name is none, or a file is too large."""
    found = dict(files)
    for name, text in patch.items():
        check_name(name)
        if text is None:
            found.pop(name, None)
        elif len(text) > FILE_CHARACTERS_MAX:
            raise PolicyError(f"has more than {FILE_CHARACTERS_MAX:,} characters; split it", file=name)
        else:
            found[name] = text
    if len(found) > FILES_MAX:
        raise PolicyError(f"more than {FILES_MAX:,} files; retire campaigns that are over")
    return found


def patch_of(before: Files, after: Files) -> dict[str, str | None]:
    """What makes the one into the other: changed and new files with their text, null for those that go."""
    changed: dict[str, str | None] = {name: text for name, text in after.items() if before.get(name) != text}
    return changed | {name: None for name in before if name not in after}
