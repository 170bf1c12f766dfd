"""What Prometheus reads: requests by route and status, never by id, and the state of the home.

Under several workers each counts into files in PROMETHEUS_MULTIPROC_DIR (bentoml serve sets it) and
a scrape sums them; otherwise the numbers are this process's.
"""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from serving.http.messages import ReadyResponse
from training.singlerow import FALLBACKS

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Counters of one application. Labels are route templates and numbers, so they stay few."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "nbo_requests", "Answers by route and status", ["route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "nbo_request_seconds", "Time to answer, by route", ["route"],
            buckets=SECONDS, registry=self._registry,
        )  # fmt: skip
        self._count = cache(self._requests.labels)
        self._time = cache(self._seconds.labels)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._count(route, str(status)).inc()
        self._time(route).observe(seconds)

    def render(self, ready: ReadyResponse) -> bytes:
        """Everything in Prometheus' text format."""
        state = CollectorRegistry()
        state.register(State(ready))
        counts = self._registry
        if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            counts = CollectorRegistry()
            counts.register(Counts(Path(folder)))
        return generate_latest(counts) + generate_latest(state)


class State(Collector):
    """The state of the home as the process that is scraped finds it now.

    Ledger and snapshot are the same for all; the models held back and the fallbacks are this process's alone.
    No Gauge: that would be a file per process, and one that was killed would go on speaking.
    """

    def __init__(self, ready: ReadyResponse) -> None:
        self._ready = ready

    def collect(self) -> Iterator[Metric]:
        """One number each."""
        ready, as_of = self._ready, self._ready.snapshot_as_of
        for name, what, number in (
            ("nbo_ready", "1: the ledger can be written", ready.ready),
            ("nbo_degraded", "1: marketing stays silent", ready.degraded),
            ("nbo_snapshot_as_of_seconds", "Cut of the snapshot, seconds since 1970; 0: none",
             as_of.timestamp() if as_of else 0),
            ("nbo_models_held_back", "1: the models now live cannot be taken, the former ones decide, in the process asked",
             ready.held_back is not None),
            ("nbo_single_row_fallbacks", "Models scored by Booster.predict: the fast path lacked or differed, in the process asked",
             FALLBACKS[0]),
        ):  # fmt: skip
            yield GaugeMetricFamily(name, what, float(number))


class Counts(Collector):
    """Counters and histograms of all processes, of those that have ended too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Their sums. Gauges of whoever else writes there are left out."""
        files = [str(path) for path in self._folder.glob("*.db") if not path.name.startswith("gauge_")]
        yield from MultiProcessCollector.merge(files)
