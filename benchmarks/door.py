"""The real door on a clock that goes on from where bank.yaml has stopped it (NBO_DOOR).

Under a clock that stands every record is of this very instant: each second the sealer passes over all it has sealed,
which no bank's does, and the longer a service is asked the later its answers.
"""

import os
import time
from datetime import datetime, timedelta
from pathlib import Path

from features.home import Home
from serving.office import Office, open_office

DOOR, BEGUN = "benchmarks.door:open_door", "NBO_BENCH_T0"  # when the clock began to go, seconds of the wall clock


def open_door(home: Path, serving: bool) -> Office:
    """The office of the home on that clock; the same in every process that was told the same beginning."""
    stood, begun = Home.open(home).now(), float(os.environ[BEGUN])

    def now() -> datetime:
        return stood + timedelta(seconds=time.time() - begun)

    return open_office(home, serving=serving, clock=now)
