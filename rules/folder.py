"""Where a policy stands: its file, its catalogue, its cases, and the columns its rules may read.

A folder holds `<id>.yaml` with `<id>.catalogue.yaml` (or `catalogue.yaml`), and may hold
`<id>.cases.yaml` and `<id>.columns.yaml`; a home holds them as `policies/` and `catalogue.yaml`.
Without a folder the home's policy is meant, and without a home the one that is shipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from rules.catalogue import Catalogue, load_catalogue
from rules.column import read_columns
from rules.document import Document, read_document
from rules.errors import PolicyError
from rules.policy import ContactPolicy, load_policy
from rules.terms import Audience, Wording

SHIPPED = Path(__file__).parent / "policies"
COLUMNS = SHIPPED / "retail.columns.yaml"


@dataclass(frozen=True)
class PolicyFolder:
    """The files of one policy.

    home: whose feature columns hold, where it has some. given: the feature columns, where somebody knows them.
    """

    policy_file: Path
    catalogue_file: Path
    home: Path | None = None
    given: pa.Schema | None = None

    @property
    def cases_file(self) -> Path:
        """Where the cases stand, if there are any; a home without its own is held to the shipped ones."""
        own = self.policy_file.with_suffix(".cases.yaml")
        shipped = SHIPPED / own.name
        return shipped if self.home and not own.is_file() and shipped.is_file() else own

    @property
    def invariants_file(self) -> Path:
        """Where the invariants stand; a home without its own is held to the shipped ones, as with cases."""
        own = self.policy_file.with_suffix(".invariants.yaml")
        shipped = SHIPPED / own.name
        return shipped if self.home and not own.is_file() and shipped.is_file() else own

    @cached_property
    def audiences(self) -> tuple[Audience, ...] | None:
        """The campaigns of the home, whenever they run: cells and audience; None: no home, or none of them."""
        files = sorted((self.home / "campaigns").glob("*.yaml")) if self.home else []
        return tuple(_audience(file, self.catalogue) for file in files) or None

    @cached_property
    def catalogue(self) -> Catalogue:
        """The catalogue; CatalogueError where it does not hold."""
        return load_catalogue(self.catalogue_file)

    @cached_property
    def document(self) -> Document:
        """The policy's text, for the lines of findings."""
        return read_document(self.policy_file)

    @cached_property
    def columns(self) -> pa.Schema:
        """The feature columns: given, of the newest snapshot of the home, of the folder's list, or as shipped."""
        if self.given is not None:
            return self.given
        snapshots = sorted((self.home / "features").glob("*.arrow")) if self.home else []
        if snapshots:
            return snapshot_columns(snapshots[-1])
        own = self.policy_file.with_suffix(".columns.yaml")
        return read_columns(own if own.is_file() else COLUMNS)

    @cached_property
    def unchecked(self) -> ContactPolicy:
        """The policy as written, names and conditions not yet checked; PolicyError where it does not load."""
        return load_policy(self.policy_file)

    @cached_property
    def policy(self) -> ContactPolicy:
        """The policy, checked against catalogue and columns."""
        return load_policy(self.policy_file, self.catalogue, self.columns)


def _audience(path: Path, catalogue: Catalogue) -> Audience:
    """What a campaign file says of cells and audience; PolicyError where that cannot be read."""
    value = read_document(path).value
    said = value if isinstance(value, dict) else {}

    def names(key: str) -> list[str]:
        listed = said.get(key, [])
        return [str(name) for name in listed] if isinstance(listed, list) else []

    families, offers = names("families"), names("offers")
    cells = tuple(o.id for o in catalogue.offers if o.id in offers or o.family in families)
    if not isinstance(said.get("id"), str) or not cells:
        raise PolicyError("is no campaign with offers of this catalogue; mend it", file=str(path))
    channels = tuple(names("channels")) or tuple(catalogue.channel_index)
    return Audience(
        str(said["id"]), cells, channels, str(said.get("audience", "TRUE")), _wordings(said.get("treatments"))
    )


def _wordings(said: Any) -> tuple[Wording, ...] | None:
    """What a campaign file says of its wordings, whenever they expire; None: nothing."""
    named = [one for one in said if isinstance(one, dict) and "id" in one] if isinstance(said, list) else []
    return (
        tuple(Wording(str(one["id"]), (str(one["language"]),) if one.get("language") else ()) for one in named) or None
    )


def snapshot_columns(path: Path) -> pa.Schema:
    """The declared feature columns of a snapshot file; PolicyError where it is none."""
    try:
        with pa.memory_map(str(path)) as source:
            schema = pa.ipc.open_file(source).schema
    except (OSError, pa.ArrowException) as error:
        raise PolicyError("is no feature snapshot; build it again with nbo features build", file=str(path)) from error
    return pa.schema([field for field in schema if field.metadata])


def find_policies(folder: Path | None, home: Path | None) -> list[PolicyFolder]:
    """The policies meant, by name of their file; PolicyError where there is none."""
    if folder is None:
        if home is not None and any((home / "policies").glob("*.yaml")):
            folder = home
        else:
            return [PolicyFolder(SHIPPED / "retail.yaml", SHIPPED / "retail.catalogue.yaml")]
    if not folder.is_dir():
        raise PolicyError("is no folder; name the folder of a policy, or a home", file=str(folder))
    inside = folder / "policies" if (folder / "policies").is_dir() else folder
    found = list(_policies(folder, inside, folder if inside != folder else home))
    if not found:
        raise PolicyError(
            "holds no policy; one is <id>.yaml beside <id>.catalogue.yaml or catalogue.yaml", file=str(folder)
        )
    return found


def find_policy(path: Path, home: Path | None) -> list[PolicyFolder]:
    """The policy of a file, or the policies of a folder; PolicyError where there is none."""
    if not path.is_file():
        return find_policies(path, home)
    found = [one for one in find_policies(path.parent, home) if one.policy_file == path]
    if not found:
        raise PolicyError("is no policy; name the policy's own file", file=str(path))
    return found


def _policies(folder: Path, inside: Path, home: Path | None) -> Iterator[PolicyFolder]:
    for path in sorted(inside.glob("*.yaml")):
        if path.name.count(".") != 1 or path.name in ("catalogue.yaml", "bank.yaml"):
            continue
        beside = [path.with_suffix(".catalogue.yaml"), inside / "catalogue.yaml", folder / "catalogue.yaml"]
        catalogue = next((file for file in beside if file.is_file()), None)
        if catalogue is None:
            raise PolicyError(f"has no catalogue; put `{beside[0].name}` or `catalogue.yaml` beside it", file=str(path))
        yield PolicyFolder(path, catalogue, home)
