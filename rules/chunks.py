"""Many rows in chunks: each fits the processor's cache, and the processors share them.

The threads pay only where each call into NumPy or Arrow takes some tens of microseconds: they let go
of the interpreter's lock while they compute, and must get it back after.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

N_THREADS = min(4, os.cpu_count() or 1)


def over_chunks(n: int, size: int, work: Callable[[int, int], object]) -> None:
    """Call work(start, stop) for every chunk of n rows, on several threads where there are several chunks.

    Each call must write only to its own rows; then the result does not depend on the threads.
    """
    spans = [(start, min(start + size, n)) for start in range(0, n, size)]
    if len(spans) < 2 or N_THREADS < 2:
        for start, stop in spans:
            work(start, stop)
        return
    with ThreadPoolExecutor(N_THREADS) as threads:
        for done in [threads.submit(work, *span) for span in spans]:
            done.result()
