"""The real door on a clock on which one second is an hour, so that windows pass while a service is tortured (NBO_DOOR)."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from serving.office import Office, open_office
from tests.home import NOW

STARTED = "NBO_TORTURE_T0"


def now() -> datetime:
    """The bank's present: the same in every process that was told the same beginning."""
    return (NOW + timedelta(hours=time.time() - float(os.environ[STARTED]))).astimezone(UTC)


def open_door(home: Path, serving: bool) -> Office:
    """The office of the home on that clock."""
    return open_office(home, serving=serving, clock=now)
