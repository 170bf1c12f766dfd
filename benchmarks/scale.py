"""Growth: one bank at several sizes, stage by stage, each stage a command of its own with its time and its memory.

Three months of bookings a customer; models are trained once, on the smallest bank, and carried to the others. Memory is
that of the command and all its children together, looked at five times a second: what they hold themselves, and beside it with
the files they have mapped, which the system takes back when it wants the room. From a million customers on, the service of
the same bank answers at a steady rate while the list is made and reserved.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from benchmarks import beside
from benchmarks.bank import customers, terms
from benchmarks.http import MORNING, sides
from benchmarks.servers import running
from benchmarks.table import Table
from features.home import Home
from features.settings import Settings, write_settings
from rules.decide import decide
from rules.terms import Terms
from rules.types import Score, scores_schema
from serving.example import equip
from serving.spark.decide import Kit, decide_frame
from serving.spark.session import session
from serving.spark.table import ROW, as_was, to_plain

UNTIL, SINCE = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
SIZES = {"small": 5_000, "middle": 15_000, "large": 40_000, "tenth": 100_000, "million": 1_000_000, "most": 5_000_000}
CURVES = {"curve": ("small", "middle", "large"), "growth": ("tenth", "million", "most")}
PARTS = (*CURVES, "deciding", "tenth", "million", "most")
SEEDING, PLAN = "seeding", "plan"
SERVED_FROM = 1_000_000
STAGES = {
    "import": ["import", "tables", "{source}"],
    "features": ["features", "build", "--as-of", "2026-06-01T00:00:00Z"],
    SEEDING: [],  # the imported history into the ledger, which each bank does once
    PLAN: ["plan", "all_year"],  # decides, reserves, writes
    "plan, dry": ["plan", "all_year", "--dry-run"],
    "plan, dry, Spark": ["plan", "all_year", "--dry-run", "--engine", "spark"],
}


def run(quick: bool, part: str = "curve") -> list[Table]:
    """part: `curve`, `growth` three sizes with their fitted growth; `deciding` that step alone, here and on Spark; else one size."""
    if part == "deciding":
        return [_deciding(20_000 if quick else 1_000_000)]
    names = CURVES.get(part, (part,))
    with tempfile.TemporaryDirectory(prefix="nbo-scale-") as folder:
        models = _models(Path(folder), 2_000 if quick else 20_000)
        found = {name: _measured(Path(folder), 2_000 * (place + 1) if quick else SIZES[name], models)
                 for place, name in enumerate(names)}  # fmt: skip
    return [
        *(table for table, _ in found.values()),
        *([_curve([rows for _, rows in found.values()])] if part in CURVES else []),
    ]


Rows = dict[str, tuple[int, float, float, float]]  # stage -> customers, seconds, of processor, MB of their own


def _measured(folder: Path, size: int, models: Path) -> tuple[Table, Rows]:
    table = Table("scale", f"{size:,} customers")
    print(f"scale: {table.setting}")
    rows: Rows = {}
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        source, home = Path(inside) / "source", _home(Path(inside) / "bank", size)
        seconds, *_ = _timed([sys.executable, "-c", _SIMULATE, str(source), str(size)])
        table.add("simulating it", seconds, "s", note="not the engine's")
        for stage, command in STAGES.items():
            arguments = ["-m", "nbo", "--home", str(home), *(one.format(source=source) for one in command), "--json"]
            if stage == SEEDING:
                shutil.copytree(models, home / "models", dirs_exist_ok=True)
                arguments = ["-c", _SEED, str(home)]
            with _service(table, home, of_use=stage == PLAN and size >= SERVED_FROM):
                try:
                    took, processor, own, mapped = _timed([sys.executable, *arguments])
                except Failed as failed:  # at which size a stage fails is a result
                    table.add(stage, None, "s", note=f"FAILED: {failed}")
                    continue
            rows[stage] = (size, took, processor, own)
            note = f"{processor:.1f} s of processor; {own:,.0f} MB at most, {mapped:,.0f} MB with mapped files"
            table.add(stage, took, "s", note=note)
            if stage == SEEDING:
                # Under a clock that stands, imported rows of this very instant would be sealed anew each second.
                bank = Home.open(home)
                write_settings(home / "bank.yaml", bank.settings.model_copy(update={"now": MORNING}))
        bytes_ = {
            name: sum(p.stat().st_size for p in (home / name).rglob("*") if p.is_file())
            for name in ("data", "features")
        }
        bytes_["ledger"] = sum(p.stat().st_size for p in home.glob("nbo.db*"))
        for name, much in bytes_.items():
            table.add(f"{name} on disk", much / size / 1024, "KB/customer")
    return table, rows


_SIMULATE = f"""
import sys; from pathlib import Path; from datetime import datetime, UTC
from simulation.bank import simulate
simulate(Path(sys.argv[1]), int(sys.argv[2]), 7, until=datetime.fromisoformat("{UNTIL.isoformat()}"), since=datetime.fromisoformat("{SINCE.isoformat()}"))
"""


_SEED = "import sys; from pathlib import Path; from serving.office import open_office; open_office(Path(sys.argv[1]), serving=False).close()"


@contextlib.contextmanager
def _service(table: Table, home: Path, of_use: bool) -> Generator[None]:
    """The service of the home, asked all the while; its figures in the table. Nothing where it is of no use."""
    if not of_use:
        yield
        return
    who = pq.read_table(Home.open(home).table("customers"), columns=["customer_id"]).column(0)[::997].to_pylist()
    bodies = [
        json.dumps({"customer_id": name, "direction": ("outbound", "inbound")[place % 2]})
        for place, name in enumerate(who)
    ]
    with running(sides(Home.open(home))[0]) as server:
        server.ask(bodies, beside.CONNECTIONS, 4.0, rate=beside.RATE)  # what is made once is made
        with beside.asked(server, bodies) as found:
            yield
    note = f"of {found['answered']:,.0f} answers; p99 of a usual 10 s {found['p99_ms usual']:.1f} ms, the worst answer {found['worst_ms']:.0f} ms; refused: {found['refused']:.0f}"
    late = 100 * found["late"] / found["answered"]
    table.add(f"the service meanwhile, {beside.RATE:.0f} a second: answers over 50 ms", late, "%", 1, note)


class Failed(RuntimeError):
    """A command that ended otherwise than well: what it said last."""


class MadeUp:
    """Scores that depend on the customer alone, so that they are the same however customers are dealt out."""

    def __init__(self, of: Terms) -> None:
        self._offers, self._channels = len(of.catalogue.offers), len(of.catalogue.channels)

    def __call__(self) -> Score:
        """The callback."""
        return self._score

    def _score(self, customers: pa.RecordBatch, _: np.ndarray) -> pa.RecordBatch:
        number = pc.cast(pc.utf8_slice_codeunits(customers.column("customer_id"), 1), pa.int64()).to_numpy()
        arrays: list[pa.Array] = []
        for place, field in enumerate(scores_schema(self._offers, self._channels)):
            width = field.type.list_size if pa.types.is_fixed_size_list(field.type) else 1
            share = ((number[:, None] * 7919 + np.arange(width) * 104_729 + place * 31) % 1000 / 1000).ravel()
            values = pa.array(
                share * (3e6 if field.name == "lifetime_value_minor" else 0.004 if field.name == "p_harm" else 0.3)
            )
            arrays.append(pa.FixedSizeListArray.from_arrays(values, type=field.type) if width > 1 else values)
        return pa.RecordBatch.from_arrays(arrays, schema=scores_schema(self._offers, self._channels))


_DECIDE = "import sys; from pathlib import Path; from benchmarks.scale import decide_table; decide_table(sys.argv[1], Path(sys.argv[2]))"


def _deciding(n: int) -> Table:
    """Suppress, score and decide for made-up customers whose table stands as Parquet: one process, and Spark on two threads."""
    table = Table(
        "scale", f"deciding alone, {n:,} made-up customers, 30 offers x 5 channels, read from and written to Parquet"
    )
    print(f"scale: {table.setting}")
    of, said = terms(), list[str]()
    with tempfile.TemporaryDirectory(prefix="nbo-deciding-") as folder:
        (Path(folder) / "in").mkdir()
        for start in range(0, n, 50_000):
            batch = customers(of, min(n, 50000), seed=start)
            rows = to_plain(pa.Table.from_batches([_numbered(batch, start)]))
            rows = rows.append_column(ROW, pa.array(range(start, start + len(rows))))
            pq.write_table(rows, Path(folder) / "in" / f"part-{start:08d}.parquet", compression="lz4")
        for way in ("here", "spark"):
            took, processor, memory, _ = _timed([sys.executable, "-c", _DECIDE, way, folder])
            found = pq.read_table(Path(folder) / way, columns=["offer_id", "expected_value_minor"])
            said.append(
                f"{len(found)} {found.column('offer_id').null_count} {pc.sum(found.column('expected_value_minor'))}"
            )
            table.add(
                f"deciding, {way}",
                took,
                "s",
                note=f"{processor:.1f} s of processor; {memory:,.0f} MB at most, start included",
            )
    assert said[0] == said[1], said
    return table


def _numbered(batch: pa.RecordBatch, start: int) -> pa.RecordBatch:
    ids = [f"C{start + n:08d}" for n in range(batch.num_rows)]
    units = pc.binary_join_element_wise(batch.column("unit_id"), str(start), "-")
    for name, column in (("customer_id", pa.array(ids)), ("unit_id", units)):
        batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), column)
    return batch


def decide_table(way: str, folder: Path) -> None:
    """One way of deciding that table, in a process of its own."""
    of = terms()
    schema = customers(of, 1).schema
    if way == "spark":
        with session("local[2]") as spark:
            frame = spark.read.parquet(str(folder / "in"))
            decide_frame(frame, Kit(of, MadeUp(of), schema)).write.parquet(str(folder / way))
        return
    (folder / way).mkdir()
    score = MadeUp(of)()
    for path in sorted((folder / "in").glob("*.parquet")):
        rows = as_was(pq.read_table(path), schema)
        pq.write_table(pa.Table.from_batches([decide(rows, of, score)]), folder / way / path.name)


def _home(path: Path, size: int) -> Path:
    settings = Settings(name="Scale", currency="CNY", currencies=("CNY", "USD", "EUR", "JPY"), zone="Asia/Shanghai",
                        clock="simulated", now=UNTIL)  # fmt: skip
    home = Home.create(path, settings)
    equip(home, "retail")
    _seated(home.campaigns / "all_year.yaml", size)
    return path


def _seated(campaign: Path, size: int) -> None:
    """As many seats a customer as the demo's 20,000 have."""
    text = campaign.read_text("utf-8")
    seats = yaml.safe_load(text)["seats"]
    more = {channel: max(seats[channel] * size // 20_000, 1) for channel in seats}
    campaign.write_text(
        text.replace(
            next(line for line in text.splitlines() if line.startswith("seats:")), f"seats: {json.dumps(more)}"
        ),
        "utf-8",
    )


def _models(folder: Path, people: int) -> Path:
    """Live models: of the demo bank's kind, trained as the demo trains them."""
    home = folder / "demo"
    command = [sys.executable, "-m", "nbo", "--home", str(home), "demo", "--customers", str(people), "--json"]
    said = subprocess.run(command, capture_output=True, check=True, cwd=Path(__file__).parents[1])
    seconds = json.loads(said.stdout)["seconds"]
    print(f"scale: models trained on {people:,} customers, 17 months: {seconds['models']:.0f} s")
    kept = folder / "models"
    shutil.copytree(home / "models", kept)
    shutil.rmtree(home)
    return kept


def _timed(command: list[str]) -> tuple[float, float, float, float]:
    """(seconds, seconds of processor, MB of their own at most, MB at most with mapped files) of a command and its children."""
    own, mapped, spent, begun = 0, 0, dict[int, float](), time.perf_counter()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as answer:
        child = subprocess.Popen(command, stdout=answer, stderr=said, cwd=Path(__file__).parents[1], env=os.environ)
        while child.poll() is None:
            seen = _looked_at(child.pid, spent)
            own, mapped = max(own, seen[0]), max(mapped, seen[1])
            time.sleep(0.2)
        seconds = time.perf_counter() - begun
        if child.returncode:
            said.seek(0)
            raise Failed(f"{' '.join(command[-4:])}, exit {child.returncode}: {said.read()[-1500:].decode()}")
        answer.seek(0)
        _not_degraded(answer.read())
    return seconds, sum(spent.values()), own / 1e6, mapped / 1e6


def _not_degraded(answer: bytes) -> None:
    """A list of a bank that lacks a model is silence, soon made: its figures would mean nothing."""
    told = json.loads(answer) if answer.startswith(b"{") else {}
    if told.get("degraded"):
        raise SystemExit(f"the list is degraded: {'; '.join(told['problems'])}")


def _looked_at(pid: int, spent: dict[int, float]) -> tuple[int, int]:
    """Bytes resident now, their own and with mapped files; what each process has spent until now goes into `spent`."""
    own = mapped = 0
    with contextlib.suppress(psutil.Error):  # it has just ended
        for one in [root := psutil.Process(pid), *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                memory, times = one.memory_info(), one.cpu_times()
                own += memory.rss - memory.shared
                mapped += memory.rss - (memory.shared if one.pid != pid else 0)
                spent[one.pid] = times.user + times.system
    return own, mapped


def _curve(sizes: list[Rows]) -> Table:
    """seconds = fixed + per million x millions, by least squares, with what it misses at each size."""
    table = Table("scale", "growth: a + b x millions of customers, least squares")
    print(f"scale: {table.setting}")
    for stage in STAGES:
        if any(stage not in rows for rows in sizes):
            continue
        millions = np.array([rows[stage][0] / 1e6 for rows in sizes])
        for what, place, unit in (("seconds", 1, "s"), ("processor", 2, "s"), ("memory", 3, "MB")):
            seen = np.array([rows[stage][place] for rows in sizes])
            made = np.column_stack([np.ones(len(seen)), millions])
            (fixed, slope), *_ = np.linalg.lstsq(made, seen, rcond=None)
            missed = ", ".join(f"{100 * (s - f) / s:+.0f} %" for s, f in zip(seen, made @ [fixed, slope], strict=True))
            table.add(
                f"{stage}, {what}: b",
                float(slope),
                f"{unit}/million",
                note=f"a = {fixed:.1f} {unit}; residuals {missed}",
            )
    return table
