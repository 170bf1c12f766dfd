"""The numbers add up over processes, and health is told."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from serving.http.messages import ReadyResponse
from serving.http.metrics import Metrics

REPOSITORY = Path(__file__).resolve().parents[3]
READY = ReadyResponse(ready=True, degraded=False, problems=(), snapshot_as_of=None)
SCRIPT = """
from serving.http.messages import ReadyResponse
from serving.http.metrics import Metrics
metrics = Metrics()
metrics.answered("GET /livez", 200, 0.002)
ready = ReadyResponse(ready=True, degraded=True, problems=(), snapshot_as_of=None)
print(metrics.render(ready).decode())
"""


def test_the_state_of_the_home_is_in_the_metrics():
    metrics = Metrics()
    assert b"nbo_snapshot_as_of_seconds 0.0" in metrics.render(READY)
    at = datetime(2026, 6, 1, tzinfo=UTC)
    stale = ReadyResponse(ready=False, degraded=True, problems=("stale",), snapshot_as_of=at)
    text = metrics.render(stale).decode()
    assert "nbo_ready 0.0" in text
    assert "nbo_degraded 1.0" in text
    [value] = [line.split()[1] for line in text.splitlines() if line.startswith("nbo_snapshot_as_of_seconds ")]
    assert float(value) == at.timestamp()


def test_answers_are_counted_by_route_and_status():
    metrics = Metrics()
    for status in (200, 200, 404):
        metrics.answered("GET /v1/recalls", status, 0.003)
    text = metrics.render(READY).decode()
    assert 'nbo_requests_total{route="GET /v1/recalls",status="200"} 2.0' in text
    assert 'nbo_requests_total{route="GET /v1/recalls",status="404"} 1.0' in text
    assert 'nbo_request_seconds_bucket{le="0.005",route="GET /v1/recalls"} 3.0' in text
    assert 'nbo_request_seconds_bucket{le="0.0025",route="GET /v1/recalls"} 0.0' in text


WORKER = """
import sys
from prometheus_client import Gauge
from serving.http.messages import ReadyResponse
from serving.http.metrics import Metrics
Gauge("nbo_degraded", "as an older release kept it", multiprocess_mode="livemax").set(1)
metrics = Metrics()
metrics.answered("GET /livez", 200, 0.002)
metrics.render(ReadyResponse(ready=False, degraded=True, problems=(), snapshot_as_of=None))
print("up", flush=True)
sys.stdin.read()
"""


def test_the_state_is_of_now_whatever_a_worker_that_was_killed_had_said(tmp_path):
    """Two workers die while they are degraded; a third is scraped when all is well."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", WORKER], env=environment, cwd=REPOSITORY, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:  # fmt: skip
            assert worker.stdout is not None
            assert worker.stdout.readline() == "up\n"
            worker.kill()
    assert list(tmp_path.glob("gauge_livemax_*.db")), "there is no stale file"
    script = SCRIPT.replace("degraded=True", "degraded=False")
    said = subprocess.run([sys.executable, "-c", script], env=environment, cwd=REPOSITORY, capture_output=True,
                          text=True, check=True, timeout=60).stdout.splitlines()  # fmt: skip
    assert [line for line in said if line.startswith(("nbo_degraded", "nbo_ready"))] == [
        "nbo_ready 1.0",
        "nbo_degraded 0.0",
    ]
    assert 'nbo_requests_total{route="GET /livez",status="200"} 3.0' in said, "what the dead have answered counts"


def test_two_processes_are_summed(tmp_path):
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, cwd=REPOSITORY, capture_output=True,
            text=True, check=True, timeout=60,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert 'nbo_requests_total{route="GET /livez",status="200"} 1.0' in said[0]
    assert 'nbo_requests_total{route="GET /livez",status="200"} 2.0' in said[1]
