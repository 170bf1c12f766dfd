"""The real door on a clock that stands in a file, so that a test moves the time of a service in another process (NBO_DOOR)."""

import os
from datetime import datetime
from pathlib import Path

from serving.office import Office, open_office

CLOCK = "NBO_TEST_CLOCK"  # the file: an instant with its zone


def now() -> datetime:
    """What the file says."""
    return datetime.fromisoformat(Path(os.environ[CLOCK]).read_text("ascii"))


def open_door(home: Path, serving: bool) -> Office:
    """The office of the home on that clock."""
    return open_office(home, serving=serving, clock=now)
