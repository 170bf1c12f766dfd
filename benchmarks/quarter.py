"""A quarter of weekly lists: this engine beside an oracle and simpler ways, on the bank of known truth; then on a real retailer.

Every way has the same seats a week and the same models. `Simple` ways know who may be offered what (law,
eligibility, suitability), and no contact policy, as lists made by a query do. The oracle is this engine with the
truth for a model. What a contact is worth is the truth's, under the annoyance that way has caused so far; who
accepts holds the product from then on; who is harmed opts out of the channel. Money stands still meanwhile.
Breaches are recounted from the raw contacts, the caps of retail.yaml written down again.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import select
from sqlalchemy.engine import Connection

from benchmarks.table import Table
from benchmarks.truth import UNTIL, made
from features.home import Home
from features.settings import write_settings
from features.sources.completejourney import SETTINGS, import_completejourney
from features.store import FeatureStore
from rules.arbitrate import cell_values
from rules.reasons import Layer
from rules.suppress import suppress
from rules.terms import Exploration, Holdout, Terms
from rules.types import scores_schema
from serving.engine import Engine
from serving.example import equip
from serving.history import ensure_seeded
from serving.ledger.book import Ledger, claim, micros, sent
from serving.ledger.consents import ConsentRow, consent_id, record
from serving.ledger.contact import COLUMNS
from serving.ledger.outcomes import Kind, accept
from serving.ledger.schema import contacts
from serving.lists.batch import chunks, read_inputs
from serving.lists.plan import make_plan, reserve_plan
from serving.office import open_ledger
from simulation.truth import Truth, annoyance_after
from simulation.world import CHANNEL_IDS, OFFER_IDS, OFFERS
from training.errors import GateError
from training.promotion import promote
from training.train import train_all

WEEKS, WEEK, DAY = 13, timedelta(days=7), 86_400_000_000
FIRST = UNTIL + timedelta(hours=2)  # 10:00 in Shanghai
SEATS = {"sms": 0.15, "email": 0.12, "app": 0.2, "call": 0.03, "branch": 0.01}  # of the customers, a week
FAMILY = {offer.id: offer.family for offer in OFFERS}
CAPS = (("customer", "sms", None, 2, 7), ("customer", "email", None, 2, 7), ("customer", "app", None, 2, 7),
        ("customer", "call", None, 1, 30), ("customer", None, None, 3, 7), ("customer", None, None, 8, 30),
        ("customer", None, "family", 5, 30), ("unit", None, None, 1, 1))  # fmt: skip
LEAN = (Layer.REGULATORY, Layer.ELIGIBILITY, Layer.SUITABILITY)


@dataclass(frozen=True)
class Contact:
    """One contact that went out."""

    customer: str
    unit: str
    channel: str
    offer: str
    at: int


def breaches(made: Sequence[Contact], refused: dict[tuple[str, str], int]) -> int:
    """Contacts over a cap, or after the customer said no on that channel. refused: (customer, channel) -> when."""
    found = {n for n, one in enumerate(made) if refused.get((one.customer, one.channel), 2**62) < one.at}
    for whose, channel, by, most, days in CAPS:
        groups: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for n, one in enumerate(made):
            if channel in (None, one.channel):
                groups[getattr(one, whose), FAMILY.get(one.offer, one.offer) if by else ""].append((one.at, n))
        for times in groups.values():
            times.sort()
            for place, (at, n) in enumerate(times):
                if place >= most and times[place - most][0] > at - days * DAY:
                    found.add(n)
    return len(found)


@dataclass
class World:
    """The truth as one way has left it. draws: (weeks, n, 2) uniform numbers, the same for all ways."""

    truth: Truth
    draws: np.ndarray
    taken: np.ndarray = field(init=False)
    annoyance: np.ndarray = field(init=False)
    earned: float = 0.0
    made: list[Contact] = field(default_factory=list)
    refused: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.taken = np.zeros(self.truth.p_accept.shape, bool)
        self.annoyance = self.truth.annoyance.copy()

    @property
    def now(self) -> Truth:
        """The truth of this week."""
        accept, organic = (np.where(self.taken, 0.0, p) for p in (self.truth.p_accept, self.truth.p_organic))
        return replace(self.truth, p_accept=accept, p_organic=organic, p_harm=self.truth.p_harm_at(self.annoyance))

    def live(self, week: int, listed: Sequence[Contact]) -> dict[str, tuple[bool, bool]]:
        """Pay and answer a week's contacts; customer -> (accepted, harmed)."""
        truth, rows = self.now, self.truth.rows_of([one.customer for one in listed])
        offer = np.array([OFFER_IDS.index(one.offer) for one in listed], int)
        channel = np.array([CHANNEL_IDS.index(one.channel) for one in listed], int)
        self.earned += float(truth.values_minor()[rows, offer * len(CHANNEL_IDS) + channel].sum())
        yes = self.draws[week, rows, 0] < truth.p_reached[rows, channel] * truth.p_accept[rows, offer]
        harmed = self.draws[week, rows, 1] < truth.p_harm[rows, channel]
        self.taken[rows[yes], offer[yes]] = True
        where = np.full(len(self.truth), -1)
        where[rows] = channel
        self.annoyance = annoyance_after(self.annoyance, where, WEEK.days)
        self.made += listed
        for one, hurt in zip(listed, harmed.tolist(), strict=True):
            if hurt:
                self.refused.setdefault((one.customer, one.channel), one.at)
        return {one.customer: (bool(y), bool(h)) for one, y, h in zip(listed, yes, harmed, strict=True)}


@dataclass(frozen=True, eq=False)
class Seeing(Engine):
    """An engine that sees what its world tells: who has taken what, and, the oracle, the truth itself."""

    world: World | None = None
    knows: bool = False
    blind: bool = False

    def score(self, customers: pa.RecordBatch, open_: np.ndarray, degraded: bool = False) -> pa.RecordBatch:
        assert self.world is not None
        rows = self.world.truth.rows_of(customers.column("customer_id"))
        if self.knows:
            truth = self.world.now
            parts = (
                truth.p_accept,
                truth.p_organic,
                truth.p_reached,
                truth.p_harm,
                truth.p_churn,
                truth.lifetime_value_minor,
            )
        else:
            found = super().score(customers, open_, degraded)
            parts = [_numbers(column).reshape(len(rows), -1) for column in found.columns]
        schema = scores_schema(len(OFFER_IDS), len(CHANNEL_IDS))
        arrays = [_column(f, part[rows] if self.knows else part, self.world.taken[rows], self.blind)
                  for f, part in zip(schema, parts, strict=True)]  # fmt: skip
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _numbers(column: pa.Array) -> np.ndarray:
    flat = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
    return np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.float64)


def _column(told: pa.Field, part: np.ndarray, taken: np.ndarray, blind: bool) -> pa.Array:
    part = np.where(taken, 0.0, part) if told.name in ("p_interest", "p_organic") else part
    part = np.zeros_like(part) if blind and told.name == "p_organic" else part
    flat = pa.array(np.ascontiguousarray(part).ravel(), from_pandas=True)
    return pa.FixedSizeListArray.from_arrays(flat, type=told.type) if pa.types.is_fixed_size_list(told.type) else flat


def seeing(engine: Engine, world: World, **how: bool) -> Seeing:
    of: dict[str, Any] = {**{f.name: getattr(engine, f.name) for f in fields(Engine)}, **how}
    return Seeing(**of, world=world)


def whole(home: Home, world: World, **how: bool) -> None:
    """A quarter of this engine's own lists: planned, reserved, claimed, sent and answered through the ledger."""
    for week in range(WEEKS):
        at = FIRST + week * WEEK
        home = home.move_clock(at) if at > home.now() else home
        with open_ledger(home) as ledger:
            engine = Engine.open(home)
            ensure_seeded(home, ledger, engine)
            plan = reserve_plan(make_plan(seeing(engine, world, **how), ledger, ["all_year"], at), ledger)
            listed = _sent(ledger, plan.run)
            answers = world.live(week, [one for _, one in listed])
            ledger.write(lambda c, listed=listed, answers=answers: _answered(c, listed, answers), units=()).result()


def _sent(ledger: Ledger, run: str) -> list[tuple[str, Contact]]:
    def go(connection: Connection) -> list[tuple[str, Contact]]:
        found = []
        for row in connection.execute(
            select(*COLUMNS).where(contacts.c.decision_id == run).order_by(contacts.c.contact_id)
        ).mappings():
            claim(connection, row["contact_id"], row["send_after"])
            sent(connection, row["contact_id"], row["send_after"])
            found.append(
                (
                    row["contact_id"],
                    Contact(row["customer_id"], row["unit_id"], row["channel"], row["offer_id"], row["send_after"]),
                )
            )
        return found

    return ledger.write(go, units=()).result()


def _answered(connection: Connection, listed: list[tuple[str, Contact]], answers: dict[str, tuple[bool, bool]]) -> None:
    for contact_id, one in listed:
        yes, harmed = answers[one.customer]
        later = one.at + 3_600_000_000
        kind = Kind.ACCEPTED if yes else Kind.NO_RESPONSE
        accept(connection, contact_id, str(kind), later, later)
        if harmed:
            said = (one.customer, "marketing", one.channel, "withdrawn", "quarter", None, later)
            record(
                connection,
                ConsentRow(
                    consent_id=consent_id(*said),
                    customer_id=one.customer,
                    purpose="marketing",
                    channel=one.channel,
                    state="withdrawn",
                    source="quarter",
                    wording=None,
                    at=later,
                    received_at=later,
                ),
            )


Ranking = Callable[[Seeing, pa.RecordBatch, np.ndarray, np.random.Generator], np.ndarray]


def simple(home: Home, world: World, rank: Ranking, blind: bool = False) -> None:
    """A quarter of lists by a query: every week the cells of highest rank, one a customer, while seats last."""
    with open_ledger(home) as ledger:
        engine = seeing(Engine.open(home), world, blind=blind)
        ensure_seeded(home, ledger, engine)
        inputs = read_inputs(engine, ledger, FIRST, ("all_year",))
    lean = _lean(inputs.terms)
    found = [(part, suppress(part, lean).open) for part in chunks(replace(inputs, terms=lean))]
    rng = np.random.default_rng(3)
    for week in range(WEEKS):
        at, wanted = micros(FIRST + week * WEEK), list[tuple[float, int, int]]()
        names: list[tuple[str, str]] = []
        for part, open_ in found:
            value = np.where(open_, rank(engine, part, open_, rng), -np.inf)
            cell = np.argsort(-value, axis=1, kind="stable")[:, :3]
            start = len(names)
            names += zip(part.column("customer_id").to_pylist(), part.column("unit_id").to_pylist(), strict=True)
            wanted += [
                (float(-value[row, one]), start + row, int(one))
                for row in range(len(value))
                for one in cell[row]
                if value[row, one] > 0
            ]
        left, given, listed = {c: int(len(names) * s) for c, s in SEATS.items()}, set[int](), list[Contact]()
        for _, row, cell in sorted(wanted):
            offer, channel = OFFER_IDS[cell // len(CHANNEL_IDS)], CHANNEL_IDS[cell % len(CHANNEL_IDS)]
            if row not in given and left[channel] > 0:
                given.add(row)
                left[channel] -= 1
                listed.append(Contact(*names[row], channel, offer, at))
        world.live(week, listed)


def _lean(terms: Terms) -> Terms:
    policy = terms.policy.model_copy(update={
        "rules": tuple(r for r in terms.policy.rules if r.layer in LEAN), "caps": (), "cool_offs": (), "event_suppressions": (),
        "orders": (), "quiet_hours": ()})  # fmt: skip
    return Terms(
        terms.catalogue,
        policy,
        terms.columns,
        terms.day,
        None,
        exploration=Exploration(),
        holdout=Holdout(),
        secret=terms.secret,
    )


def _values(engine: Seeing, part: pa.RecordBatch, open_: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return cell_values(engine.score(part, open_), engine.terms(FIRST)).gross.astype(np.float64)


def _propensity(engine: Seeing, part: pa.RecordBatch, open_: np.ndarray, _: np.random.Generator) -> np.ndarray:
    found = engine.score(part, open_)
    interest, reach = (np.nan_to_num(np.asarray(found.column(n).flatten().to_numpy(zero_copy_only=False))).reshape(part.num_rows, -1)
                       for n in ("p_interest", "p_reach"))  # fmt: skip
    return (interest[:, :, None] * reach[:, None, :]).reshape(part.num_rows, -1)


def _random(_: Seeing, __: pa.RecordBatch, open_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.random(open_.shape) * 0.999 + 0.001


def run(quick: bool) -> list[Table]:
    """Two tables: the bank of known truth, and the Complete Journey."""
    with tempfile.TemporaryDirectory(prefix="quarter-") as scratch:
        return [
            truth_bank(Path(scratch), 1_500 if quick else 6_000),
            journey(Path(scratch) / "cj", 3 if quick else WEEKS),
        ]


def truth_bank(scratch: Path, customers: int) -> Table:
    table = Table("quarter, known truth", f"{customers:,} customers, {WEEKS} weekly lists each way, the same seats")
    print(f"quarter: {table.setting}")
    home, truth, _ = made(scratch, customers)
    write_settings(home.path / "bank.yaml", home.settings.model_copy(update={"snapshot_max_age_hours": 24 * 120}))
    file = home.campaigns / "all_year.yaml"
    text = file.read_text("utf-8")
    seats = ", ".join(f"{channel}: {int(len(truth) * share)}" for channel, share in SEATS.items())
    file.write_text(text[: text.index("seats:")] + f"seats: {{{seats}}}\n", "utf-8")
    draws = np.random.default_rng(11).random((WEEKS, len(truth), 2))
    ways: dict[str, Callable[[Home, World], None]] = {
        "the oracle: this engine, knowing the truth": lambda h, w: whole(h, w, knows=True),
        "this engine": whole,
        "this engine, blind to uplift": lambda h, w: whole(h, w, blind=True),
        "greedy by value": lambda h, w: simple(h, w, _values),
        "greedy by value, blind to uplift": lambda h, w: simple(h, w, _values, blind=True),
        "highest propensity": lambda h, w: simple(h, w, _propensity),
        "random eligible": lambda h, w: simple(h, w, _random),
    }
    best = 0.0
    for what, way in ways.items():
        world = World(truth, draws)
        way(Home.open(Path(copytree(home.path, scratch / f"way-{len(table.lines)}"))), world)
        best = best or world.earned
        found = breaches(world.made, world.refused)
        table.add(f"{what}: share of the oracle's value", world.earned / best, "",
                  note=f"{len(world.made):,} contacts, {found:,} breaches, {len(world.refused):,} opted out, {world.earned / 100:,.0f} CNY")  # fmt: skip
    return table


def journey(folder: Path, weeks: int) -> Table:
    """Real households, lists of letters from October on, each from what was known that Monday; trained on what was before."""
    home = Home.create(folder, SETTINGS)
    import_completejourney(home)
    equip(home, "coupons")
    first = datetime(2017, 10, 2, 14, tzinfo=UTC)
    FeatureStore(home).build(first)
    for model in train_all(home, first):
        try:
            promote(home, model.name, model.version)
        except GateError as error:
            print(f"  {error}")
    table = Table("quarter, Complete Journey", f"{weeks} weekly lists of letters from {first:%F}")
    print(f"quarter: {table.setting}")
    listed: list[Contact] = []
    gaps: list[float] = []
    with open_ledger(home) as ledger:
        for week in range(weeks):
            at = first + week * WEEK
            FeatureStore(home).build(at)
            engine = Engine.open(home)
            ensure_seeded(home, ledger, engine)
            plan = reserve_plan(make_plan(engine, ledger, ["coupons"], at), ledger)
            listed += [one for _, one in _sent(ledger, plan.run)]
            bound = plan.cleared.allocation.bound_minor
            gaps.append((bound - plan.cleared.allocation.value_minor) / bound if bound else 0.0)
    table.add("contacts", len(listed), "")
    table.add("largest gap to the bound, before reservation", max(gaps) * 100, "%")
    table.add("contacts over a cap, recounted", letters_over(listed), "", 0)
    return table


def letters_over(listed: Sequence[Contact]) -> int:
    """Contacts that are somebody's third letter within 30 days, the cap of coupons.yaml written down again."""
    mine: dict[str, list[int]] = defaultdict(list)
    for one in listed:
        mine[one.customer].append(one.at)
    return sum(at - times[place - 2] < 30 * DAY for times in map(sorted, mine.values())
               for place, at in enumerate(times) if place >= 2)  # fmt: skip
