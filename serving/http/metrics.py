"""What Prometheus reads: requests by route and status, never by id.

Under several workers each writes to files in PROMETHEUS_MULTIPROC_DIR (bentoml serve sets it) and
a scrape sums them; otherwise the numbers are this process's.
"""

import os
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

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
        self._ready = self._gauge("nbo_ready", "1: the ledger can be written", "livemin")
        self._degraded = self._gauge("nbo_degraded", "1: marketing stays silent", "livemax")
        self._snapshot = self._gauge(
            "nbo_snapshot_as_of_seconds", "Cut of the snapshot, seconds since 1970; 0: none",
            "livemin",
        )  # fmt: skip
        self._held_back = self._gauge(
            "nbo_models_held_back", "1: the models now live cannot be taken, the former ones decide", "livemax"
        )
        self._fallbacks = self._gauge(
            "nbo_single_row_fallbacks", "Models scored by Booster.predict: the fast path was missing or differed",
            "livesum",
        )  # fmt: skip
        self._count = cache(self._requests.labels)
        self._time = cache(self._seconds.labels)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._count(route, str(status)).inc()
        self._time(route).observe(seconds)

    def render(self, ready: ReadyResponse) -> bytes:
        """Everything in Prometheus' text format."""
        self._ready.set(ready.ready)
        self._degraded.set(ready.degraded)
        self._held_back.set(ready.held_back is not None)
        self._fallbacks.set(FALLBACKS[0])
        as_of = ready.snapshot_as_of
        self._snapshot.set(as_of.timestamp() if as_of else 0)
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)

    def _gauge(self, name: str, help: str, mode: str) -> Gauge:
        return Gauge(name, help, registry=self._registry, multiprocess_mode=mode)  # pyright: ignore[reportArgumentType]  # mode is one of the library's literals
