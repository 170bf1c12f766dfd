"""Who computes for long gives the processor to a service on the same machine when that wants it: decisions come first."""

import os

NICE = 10


def lower_priority() -> None:
    """Put this process at priority NICE, where it is not lower already; on a system that knows no priorities, nothing."""
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
