"""Which models are live: promotion through the gate (training/gate.py) and its way back.

    registry version --gate--> HOME/models/<sha>/ --> models/live.json        {name: sha}
                                                      models/history.json     {name: [former shas]}
Both files are replaced in one step under one lock; the bundles of former versions stay, so a
rollback is a change of one line.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from features.home import Home
from training.atomic import write_atomically
from training.bundle import Manifest, read_bundle, stamp_version, verify_bundle
from training.errors import BundleError, RegistryError
from training.gate import gate
from training.lock import exclusive
from training.registry import Registry, temporary_folder
from training.score import ALL_NAMES, read_live


@dataclass(frozen=True)
class Promoted:
    """A version that went live: its folder in HOME/models, and the gate's lines why it may."""

    bundle: Path
    gate: str


def promote(home: Home, name: str, version: str, registry: Registry | None = None) -> Promoted:
    """Make a version live if the gate lets it.

    Raises:
        RegistryError: No such name or version.   GateError: The line of the gate that failed.
        BundleError: The bundle is damaged, or died in its first load.
    """
    _known(name)
    registry = registry or Registry.open(home.mlflow_uri)
    with temporary_folder() as folder:
        fetched = registry.fetch(name, version, Path(folder))
        manifest = verify_bundle(fetched)
        gate(manifest, live_beside(home.models, manifest))  # before anything is written
        bundle = stamp_version(fetched, home.models, version)
    read_bundle(bundle)
    with exclusive(home.models / ".lock"):
        # Asked anew: while the bundle was opened another may have gone live, of a later cut perhaps.
        why = gate(manifest, live_beside(home.models, manifest))
        live = read_live(home.models)
        if live.get(name) not in (None, bundle.name):
            history = read_history_of(home.models)
            history[name] = [*history.get(name, []), live[name]]
            _write(home.models / "history.json", history)
        _write(home.models / "live.json", {**live, name: bundle.name})
    registry.set_champion(name, version)
    return Promoted(bundle, why)


def rollback(home: Home, name: str, registry: Registry | None = None) -> Path:
    """Make the former version live again, byte for byte, and return its folder.

    Raises:
        RegistryError: There is no former version.
    """
    _known(name)
    with exclusive(home.models / ".lock"):
        history = read_history_of(home.models)
        if not history.get(name):
            raise RegistryError(f"model `{name}` has no former version; promote one instead")
        former = home.models / history[name][-1]
        manifest = verify_bundle(former)
        _write(home.models / "live.json", {**read_live(home.models), name: former.name})
        _write(home.models / "history.json", {**history, name: history[name][:-1]})
    (registry or Registry.open(home.mlflow_uri)).set_champion(name, manifest.version)
    return former


def live_beside(models: Path, manifest: Manifest) -> Manifest | None:
    """What a version is held against at the gate: the one now live under its name.

    None where none is live, where it is that version itself, or where it is damaged and promoting is the remedy.
    """
    sha = read_live(models).get(manifest.name)
    try:
        live = None if sha is None else verify_bundle(models / sha)
    except BundleError:
        return None
    # Not by number: a registry that was begun anew counts from 1 again.
    return None if live is None or live.model_copy(update={"version": manifest.version}) == manifest else live


def read_history_of(models: Path) -> dict[str, list[str]]:
    """Name -> shas that were live before, the newest last."""
    path = models / "history.json"
    if not path.exists():
        return {}
    try:
        return {str(name): [str(sha) for sha in shas] for name, shas in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise RegistryError(f"`{path.name}` is not readable; remove it and promote again") from error


def _known(name: str) -> None:
    if name not in ALL_NAMES:
        raise RegistryError(f"no model `{name}`; there are {', '.join(ALL_NAMES)}")


def _write(path: Path, value: object) -> None:
    write_atomically(path, (json.dumps(value, sort_keys=True, indent=1) + "\n").encode())
