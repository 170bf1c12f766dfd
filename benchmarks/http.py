"""Whole decisions over HTTP, beside echoes under the same server settings, in one run.

A bank of its own is simulated, imported, built and trained once: 30 offers (the shipped ten, each in three wordings)
x 5 channels, the shipped policy, all models, SQLite with synchronous FULL.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import polars as pl
import psycopg
import yaml
from psycopg.sql import SQL, Identifier

from benchmarks.door import BEGUN, DOOR
from benchmarks.servers import Running, Side, running
from benchmarks.table import Table
from features.home import Home, Settings
from features.intake import import_tables
from features.settings import write_settings
from features.store import FeatureStore
from serving.example import equip
from serving.ledger.keys import Role, add
from serving.office import open_office
from simulation.bank import simulate
from training.promotion import promote
from training.train import train_all

UNTIL = datetime(2026, 6, 1, tzinfo=UTC)
MORNING = UNTIL + timedelta(hours=2)  # 10:00 in Shanghai
COPIES = 3
SERVER = "postgresql://postgres@127.0.0.1:5432/{}"
OUT, HALF = "whole decision, durable", 0.5
BENTO = ("bentoml", "serve")


def run(quick: bool = False) -> list[Table]:
    """Every side at 16 and 64 connections, then the service at half its maximum."""
    seconds = 2.0 if quick else 8.0
    table = Table("http", "30 offers x 5 channels, shipped policy, all models, SQLite FULL, one worker")
    print(f"http: {table.setting}")
    with bank(1_000 if quick else 5_000) as (home, bodies):
        rates: dict[str, float] = {}  # the highest, whatever the connections
        for side in sides(home, goes=True):
            with running(side) as server:
                most = _throughput(table, server, bodies, seconds)
                rates[side.name] = most.rate
                if side.keyed:
                    _half(table, server, bodies, seconds, most)
        _postgres(table, home, bodies, seconds)
    ours, mounted, own, bare = (rates[side.name] for side in sides(None))
    table.add(
        "echo mounted like the service: a decision is",
        mounted / ours,
        "x",
        1 / 0.45,
        "target: at least 0.45 of its rate",
    )
    table.add("BentoML's own @bentoml.api echo: a decision is", own / ours, "x", 1.0, "target: at or above its rate")
    table.add("bare uvicorn: the mounted echo is", bare / mounted, "x", 1 / 0.8, "target: at least 0.8 of its rate")
    return [table]


def _postgres(table: Table, home: Home, bodies: list[str], seconds: float) -> None:
    """The same home with its ledger on PostgreSQL, served by two workers."""
    try:
        admin = psycopg.connect(SERVER.format("postgres"), autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        table.add("PostgreSQL, two workers", None, "1/s", note="no server on 127.0.0.1:5432")
        return
    name = f"nbo_bench_{os.getpid()}"
    settings = home.path / "bank.yaml"
    was = settings.read_text("utf-8")
    try:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        kept = [line for line in was.splitlines() if not line.startswith("database:")]
        url = SERVER.format(name).replace("postgresql", "postgresql+psycopg")
        settings.write_text("\n".join([*kept, f"database: {url}", ""]), "utf-8")
        side = sides(Home.open(home.path), goes=True)[0]
        two = replace(
            side, name="whole decision, PostgreSQL, two workers", environment={**side.environment, "NBO_WORKERS": "2"}
        )
        with running(two) as server:
            most = _throughput(table, server, bodies, seconds)
            _half(table, server, bodies, seconds, most)
    finally:
        settings.write_text(was, "utf-8")
        admin.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
        admin.close()


def sides(home: Home | None, goes: bool = False) -> list[Side]:
    """The service first, then the echoes. goes: the service's clock does, which a command beside it would not know."""
    service = Side(OUT, (*BENTO, "serving.service:NextBestOffer", "--host", "127.0.0.1"), "/v1/decisions", keyed=True)
    if home is not None:
        with closing(open_office(home.path, serving=False)) as office:
            secret, now = home.secret(), office.ledger.now_micros()
            key = office.ledger.write(
                lambda c: add(c, f"app-bench-{now}", Role.CHANNEL, secret=secret, now=now)
            ).result(30)
        begun = (home.path / "bank.yaml").stat().st_mtime  # of the clock: one time for all servers of this home
        clock = {"NBO_DOOR": DOOR, BEGUN: str(begun)} if goes else {}
        service = Side(service.name, service.command, service.path, {"Authorization": f"Bearer {key}"},
                       {"NBO_HOME": str(home.path), **clock}, keyed=True)  # fmt: skip
    local = ("--host", "127.0.0.1")
    return [
        service,
        Side("echo, mounted in BentoML as the service is", (*BENTO, "benchmarks.echo:Mounted", *local), "/v1/echo"),
        Side("echo, BentoML's own API", (*BENTO, "benchmarks.echo:Own", *local), "/echo"),
        Side(
            "echo, bare uvicorn",
            ("uvicorn", "benchmarks.echo:app", "--no-access-log", "--log-level", "error"),
            "/v1/echo",
        ),
    ]


class _Most(NamedTuple):
    rate: float
    connections: int


def _throughput(table: Table, server: Running, bodies: list[str], seconds: float) -> _Most:
    best = _Most(0.0, 0)
    for connections in (16, 64):
        found = server.ask(bodies, connections, seconds)
        note = f"p50 {found['p50_ms']:.1f}, p99 {found['p99_ms']:.1f}, worst {found['worst_ms']:.0f} ms"
        refused = f"; {found['refused']:.0f} REFUSED" if found["refused"] else ""
        table.add(f"{server.side.name}, {connections} connections", found["rate"], "1/s", None, note + refused)
        best = max(best, _Most(found["rate"], connections))
    return best


def _half(table: Table, server: Running, bodies: list[str], seconds: float, most: _Most) -> None:
    """Over as many connections as the maximum: over fewer it would be more than half of what these can carry."""
    found = server.ask(bodies, most.connections, seconds, rate=HALF * most.rate)
    told = f"at {HALF * most.rate:,.0f} a second over {most.connections} connections, half the maximum"
    table.add(f"{server.side.name}, {told}: p50", found["p50_ms"], "ms")
    table.add(f"{server.side.name}, {told}: p99", found["p99_ms"], "ms", 25)
    table.add(f"{server.side.name}, {told}: worst", found["worst_ms"], "ms", 250)


@contextmanager
def bank(customers: int) -> Generator[tuple[Home, list[str]]]:
    """A home with everything in it, and a request body per customer, outbound and inbound by turns."""
    folder = Path(tempfile.mkdtemp(prefix="nbo-http-"))
    try:
        settings = Settings(name="Bench", currency="CNY", currencies=("CNY", "USD", "EUR", "JPY"), zone="Asia/Shanghai",
                            clock="simulated", now=UNTIL)  # fmt: skip
        home = Home.create(folder / "home", settings)
        equip(home, "retail")
        _thrice(home.catalogue)
        simulate(folder / "bank", customers, 11, until=UNTIL)
        _spread(folder / "bank")
        import_tables(home, folder / "bank")
        FeatureStore(home).build(UNTIL)
        for model in train_all(home, UNTIL, 0):
            promote(home, model.name, model.version)
        # The history is entered at night: a clock that stands would make the sealer read it again each second.
        open_office(home.path, serving=False).close()
        write_settings(home.path / "bank.yaml", settings.model_copy(update={"now": MORNING}))
        home = Home.open(home.path)
        who: list[str] = pl.read_parquet(home.table("customers") / "*.parquet")["customer_id"].to_list()
        ways = ("outbound", "inbound")
        Random(5).shuffle(who)  # a household's members have neighbouring ids, and do not call in the same instant
        bodies = [f'{{"customer_id": "{name}", "direction": "{ways[place % 2]}"}}' for place, name in enumerate(who)]
        yield home, bodies
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _thrice(catalogue: Path) -> None:
    """The catalogue with each offer three times; the copies are wordings of the same product."""
    whole: dict[str, Any] = yaml.safe_load(catalogue.read_text("utf-8"))
    # Copied through JSON: a shared title would be written as an anchor, which no policy file may hold.
    copies = [
        json.loads(json.dumps(offer)) | {"id": f"{offer['id']}_{copy}"}
        for copy in range(2, COPIES + 1)
        for offer in whole["offers"]
    ]
    catalogue.write_text(yaml.safe_dump(whole | {"offers": whole["offers"] + copies}, allow_unicode=True), "utf-8")


def _spread(source: Path) -> None:
    """The contacts so far, spread over the copies, so that the models know them all."""
    for path in sorted((source / "contacts").glob("*.parquet")):
        found = pl.read_parquet(path)
        copy = pl.int_range(pl.len()) % COPIES
        named = pl.when(copy == 0).then("offer_id").otherwise(pl.format("{}_{}", "offer_id", copy + 1))
        found.with_columns(named.alias("offer_id")).write_parquet(path)
