"""A load of HTTP requests over kept-open connections, in a process of its own: `python -m benchmarks.load PLAN`.

PLAN, JSON: port, path, headers, bodies (sent round and round), connections, seconds, rate (requests a second over
all connections; null: each connection asks again as soon as it is answered), key (a prefix; every request then
carries an Idempotency-Key of its own). Prints JSON: answered, refused (status other than 200), seconds, and the
latencies p50_ms, p99_ms, worst_ms, and late, how many took over 50 ms. Under a rate a latency counts from the instant the request was due, so that a
server that stalls cannot hide it by stalling the client.
"""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

WARM_SECONDS, LATE_SECONDS = 1.0, 0.05


class Asker(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, sends again."""

    def __init__(self, load: "Load", place: int) -> None:
        self.load, self.place = load, place
        self.turn = 0
        self.kept = b""
        self.due = 0.0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport  # uvloop's is no asyncio.Transport
        self.next()

    def next(self) -> None:
        """Send the next request, now or when it is due."""
        now = time.perf_counter()
        if now >= self.load.end:
            self.transport.close()
            return
        if self.load.gap is None:
            self.send(now)
            return
        due = self.load.begin + (self.place / self.load.connections + self.turn) * self.load.gap
        if due <= now:
            self.send(due)
        else:
            asyncio.get_running_loop().call_later(due - now, self.send, due)

    def send(self, due: float) -> None:
        self.due = due
        self.transport.write(self.load.request(self.place, self.turn))
        self.turn += 1

    def data_received(self, data: bytes) -> None:
        self.kept += data
        head, found, body = self.kept.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
        if len(body) < length:
            return
        self.kept = b""
        self.load.answered(self.due, head[9:12] == b"200")
        self.next()


class Load:
    """What is sent, and what came back."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan, self.connections = plan, int(plan["connections"])
        self.gap = None if plan["rate"] is None else self.connections / float(plan["rate"])
        self.head = "".join(f"{name}: {value}\r\n" for name, value in plan["headers"].items())
        self.latencies: list[float] = []
        self.refused = 0

    def request(self, place: int, turn: int) -> bytes:
        body = self.plan["bodies"][(place + turn * self.connections) % len(self.plan["bodies"])]
        key = f"Idempotency-Key: {self.plan['key']}-{place}-{turn}\r\n" if self.plan["key"] else ""
        return (
            f"POST {self.plan['path']} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{self.head}"
            f"{key}Content-Length: {len(body.encode())}\r\n\r\n{body}"
        ).encode()

    def answered(self, due: float, ok: bool) -> None:
        if due < self.begin + WARM_SECONDS:
            return
        self.latencies.append(time.perf_counter() - due)
        self.refused += not ok

    async def run(self) -> dict[str, float]:
        loop = asyncio.get_running_loop()
        self.begin = time.perf_counter()
        self.end = self.begin + WARM_SECONDS + float(self.plan["seconds"])
        for place in range(self.connections):
            await loop.create_connection(lambda place=place: Asker(self, place), "127.0.0.1", int(self.plan["port"]))
        await asyncio.sleep(self.end - time.perf_counter() + 0.5)
        found = sorted(self.latencies)
        at = {"p50_ms": 0.5, "p99_ms": 0.99, "worst_ms": 1.0}
        told = {name: 1000 * found[min(len(found) - 1, int(share * len(found)))] for name, share in at.items()}
        late = sum(one > LATE_SECONDS for one in found)
        return {
            "answered": len(found),
            "late": late,
            "refused": self.refused,
            "seconds": float(self.plan["seconds"]),
        } | told


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
        load = Load(json.load(file))
    print(json.dumps(uvloop.run(load.run())))
