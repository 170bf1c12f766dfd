"""The expected volume: a list far larger than the last ones waits until someone confirms it.

A wrong audience, a lost suppression or a doubled file shows first as a list of three times the usual
length. Usual is the median of the last seven runs of the same campaigns, else of all runs. Degraded ones, in which
everybody is silent, say nothing of what is usual.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from serving.lists.files import Manifest, read_manifest

RUNS, TIMES = 7, 3
SMALL = 100  # contacts; below it three times the usual is nothing to be held for


class VolumeError(ValueError):
    """The list is held; one line."""


@dataclass(frozen=True)
class Volume:
    """How many contacts a list has, and how many were usual; null: there is no run to compare with."""

    contacts: int
    usual: float | None

    @property
    def is_held(self) -> bool:
        """Whether the list waits for a confirmation."""
        return self.usual is not None and self.contacts > max(SMALL, TIMES * self.usual)

    def refuse(self) -> None:
        """VolumeError where the list is held."""
        if self.is_held:
            raise VolumeError(
                f"the list has {self.contacts:,} contacts, usual are {self.usual:,.0f}; nothing is reserved."
                " Look at the dry run, then repeat with --confirm"
            )


def volume(lists: Path, campaigns: Sequence[str], run: str, contacts: int) -> Volume:
    """The volume of a run beside that of the runs before it. The run itself is left out."""
    former = [read_manifest(path.parent) for path in sorted(lists.glob("*/manifest.json")) if path.parent.name < run]
    former = [manifest for manifest in former if not manifest.degraded]
    alike = [manifest for manifest in former if set(manifest.campaigns) == set(campaigns)]
    told = _last(alike or former)
    return Volume(contacts, median(told) if told else None)


def _last(manifests: Sequence[Manifest]) -> list[int]:
    return [m.funnel.chosen for m in sorted(manifests, key=lambda m: m.as_of)[-RUNS:]]
