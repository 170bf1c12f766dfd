"""A small whole home: a simulated bank, imported, with a snapshot, models written by hand and a seeded ledger.

Made once per process and copied per test. Nothing is trained: interest is a logistic over age and
balance with a weight per offer, so that values differ between customers and offers.
"""

import atexit
import hashlib
import json
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml
from sqlalchemy.engine import Connection

from features.home import Home, Settings
from features.intake import import_tables
from features.store import FeatureStore
from rules.catalogue import load_catalogue
from rules.draws import share_of
from rules.liveset import files_in
from rules.review import Act, Actor, Kind
from serving.changes import live
from serving.engine import HOLDOUT_SHARE, Engine
from serving.example import equip
from serving.history import ensure_seeded
from serving.http.door import Call, StoredAnswer
from serving.http.messages import (
    ConsentChannel,
    ConsentPurpose,
    ConsentRequest,
    ConsentState,
    DecisionRequest,
    DecisionResponse,
    Direction,
    EventKind,
    EventRequest,
    EventResponse,
    Message,
)
from serving.ledger import changes
from serving.ledger.keys import Principal, Role
from serving.office import Office, open_ledger, open_office
from simulation.bank import simulate
from training.bundle import Manifest, Part, PartNote, write_bundle
from training.calibration import Calibrator
from training.encode import Feature
from training.promotion import promote
from training.registry import Registry
from training.scorer import ConstantModel, ConstantScorer, LogisticModel, LogisticScorer, LogisticTerm
from training.value import VALUE_FEATURES, ValueFormula, ValueModel

CUSTOMERS = 1_200
UNTIL = datetime(2026, 6, 1, tzinfo=UTC)  # the snapshot
NOW = UNTIL + timedelta(hours=2)  # 10:00 in Shanghai
FRESH_HOURS = 11 * 24  # the home imports once; what happens later comes as events
HERO = "C0000001"  # holds USD 12,000.00
COUPLE = ("C0000002", "C0000003")  # one household
HERO_DOLLARS = 1_200_000
DOLLAR_OFFERS = ("deposit_usd_6m", "wealth_usd_income")
CHANNELS = ("sms", "email", "app", "call", "branch")

M = TypeVar("M", bound=Message)


@cache
def template() -> Path:
    """The home's folder; never write to it, take `copied`."""
    folder = Path(tempfile.mkdtemp(prefix="nbo-test-home-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    simulate(folder / "source", CUSTOMERS, 7, until=UNTIL, since=datetime(2026, 1, 1, tzinfo=UTC))
    settings = Settings(name="Small bank", currency="CNY", currencies=("CNY", "USD", "EUR", "JPY"), zone="Asia/Shanghai",
                        clock="simulated", now=NOW, snapshot_max_age_hours=FRESH_HOURS)  # fmt: skip
    home = Home.create(folder / "bank", settings)
    (home.path / "secret.key").write_text(_secret(), "ascii")
    import_tables(home, folder / "source")
    equip(home, "retail")
    FeatureStore(home).build(UNTIL)
    write_models(home)
    _prepare(home)
    return home.path


def _prepare(home: Home) -> None:
    """Seed the ledger, probe the models, make the keyring; nothing is put into force yet, so the files are what holds."""
    engine, ledger = Engine.open(home), open_ledger(home, serving=True)
    ensure_seeded(home, ledger, engine)
    office = Office(engine, ledger, expiring=True)
    office.start_sealing()
    office.close()


def adopt(path: Path) -> None:
    """Put the files of a home into force as they stand, past the review: what a test has written, holds."""
    home = Home.open(path)
    with open_ledger(home) as ledger:
        engine, now = live.open_engine(home, ledger), ledger.now_micros()
        if live.boot(engine, ledger, "test"):
            return

        def task(connection: Connection) -> None:
            revision = changes.keep_set(connection, files_in(path))
            changes.append(connection, ledger.secret, change_id=f"adopted-{next(_turn)}", act=Act.ACTIVATE, actor=Actor("test", "admin"),
                           kinds=frozenset(Kind), base=engine.live_set, target=revision, at=now, effective_at=now)  # fmt: skip

        ledger.write(task, touches=changes.CHANGES).result()


def without_offer(path: Path, offer: str) -> None:
    """The offer leaves the catalogue, and what names it the campaigns; in force at once."""
    file = path / "catalogue.yaml"
    said = yaml.safe_load(file.read_text("utf-8"))
    said["offers"] = [one for one in said["offers"] if one["id"] != offer]
    said["treatments"] = [one for one in said["treatments"] if one["offer"] != offer]
    file.write_text(yaml.safe_dump(said, allow_unicode=True, sort_keys=False), "utf-8")
    for campaign in (path / "campaigns").glob("*.yaml"):
        campaign.write_text(campaign.read_text("utf-8").replace(f", {offer}]", "]"), "utf-8")
    adopt(path)


def copied(path: Path) -> Path:
    """A copy of the home of one's own, at `path`."""
    shutil.copytree(template(), path)
    return path


def _secret() -> str:
    """One that holds neither the story's customer nor the couple out."""
    for turn in range(1000):
        secret = hashlib.sha256(f"small {turn}".encode()).digest()
        shares = share_of(secret, "holdout", "2026H1", [HERO, "H0000002"])
        if (shares >= HOLDOUT_SHARE).all():
            return secret.hex()
    raise AssertionError("no secret leaves them in")


def write_models(home: Home) -> None:
    """The five bundles and live.json."""
    number, offers = _numbers(), _offers(home)
    names = tuple(feature.name for feature in number)
    reach = {channel: _constant(names, p) for channel, p in zip(CHANNELS, (0.35, 0.2, 0.3, 0.5, 0.6), strict=True)}
    harm = {channel: _constant(names, 0.0001) for channel in CHANNELS}
    parts: dict[str, dict[str, Part]] = {
        "interest": {"pooled": _interest(offers)},
        "reach": reach | {"pooled": _constant(names, 0.1)},
        "harm": harm | {"pooled": _constant(names, 0.0001)},
        "churn": {"churn": _constant(names, 0.05)},
        "value": {"value": ValueFormula(names, ValueModel())},
    }
    live = {name: _bundle(home.models, name, found, offers).name for name, found in parts.items()}
    (home.models / "live.json").write_text(json.dumps(live, sort_keys=True))


@cache
def registered() -> Path:
    """The home with a registry: interest versions 1, live, and 2, its offers' order turned round. Never write to it."""
    home = Home.open(copied(Path(tempfile.mkdtemp(prefix="nbo-test-registered-")) / "bank"))
    atexit.register(shutil.rmtree, home.path.parent, ignore_errors=True)
    registry = Registry.open(home.mlflow_uri)
    for step in (-0.15, 0.15):
        bundle = _bundle(
            home.path / "drafts", "interest", {"pooled": _interest(_offers(home), step)}, _offers(home), GOOD
        )
        registry.log(bundle, {"step": step}, {})
    promote(home, "interest", "1", registry)
    return home.path


GOOD = {
    "auc": 0.7,
    "auc_low": 0.65,
    "ece": 0.02,
    "rows": 2000.0,
    "positives": 200.0,
}  # what the gate asks of a logistic model


def _numbers() -> tuple[Feature, ...]:
    return tuple(Feature(name=name, kind="number") for name in ("age_years", *VALUE_FEATURES))


def _offers(home: Home) -> tuple[str, ...]:
    return tuple(offer.id for offer in load_catalogue(home.catalogue).offers)


def _interest(offers: tuple[str, ...], step: float = -0.15) -> LogisticScorer:
    weights = tuple(round(0.6 + step * place, 3) for place in range(len(offers)))
    terms = (LogisticTerm(feature="age_years", kind="number", mean=45.0, scale=30.0, weights=(0.8,)),
             LogisticTerm(feature="balance_total_minor", kind="number", log=True, mean=14.0, scale=6.0, weights=(0.5,)),
             LogisticTerm(feature="offer", kind="codes", weights=weights))  # fmt: skip
    names = (*(feature.name for feature in _numbers()), "offer")
    return LogisticScorer(names, LogisticModel(intercept=-2.2, terms=terms), Calibrator())


def _constant(names: tuple[str, ...], p: float) -> ConstantScorer:
    return ConstantScorer(names, ConstantModel(p=p, why="written by hand"))


def _bundle(folder: Path, name: str, parts: dict[str, Part], offers: tuple[str, ...],
            metrics: dict[str, float | None] | None = None) -> Path:  # fmt: skip
    served = {LogisticScorer: "logistic", ConstantScorer: "constant", ValueFormula: "formula"}
    notes = {key: PartNote(served=served[type(part)], features=part.features) for key, part in parts.items()}
    context = Feature(name="offer", kind="enum", domain=offers) if name == "interest" else None
    manifest = Manifest(
        name=name, features=_numbers(), context=context, parts=notes, trained_as_of="2026-06-01T00:00:00Z",
        metrics=metrics or {},
    )  # fmt: skip
    rows = np.column_stack([np.linspace(20, 80, 4), np.geomspace(1e4, 1e8, 4), np.zeros((4, 2))])
    return write_bundle(folder, manifest, parts, rows)


class Clock:
    """The present of an office under test; moves forward only."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


def office_at(path: Path, clock: Clock) -> Office:
    """The office of a home on a clock the test moves; the home's own commands see its bank.yaml."""
    office = open_office(path, serving=False)
    office.ledger._clock._clock = clock
    return office


APP = Principal("app-test", Role.CHANNEL)
BOSS = Principal("boss", Role.ADMIN)
_turn = iter(range(10**9))


def call(route: str = "POST /v1/test", who: Principal = BOSS, key: str | None = None, body: str | None = None) -> Call:
    """What the HTTP layer knows beside the message; a new key unless one is given."""
    key = key or f"key-{next(_turn)}"
    return Call(who, route, key, hashlib.sha256((body or key).encode()).hexdigest())


def answer(model: type[M], pending: Future[StoredAnswer]) -> M:
    """The stored bytes as the message they are."""
    return model.model_validate_json(pending.result(30).body)


def ask(
    office: Office, customer: str = HERO, direction: str = "outbound", key: str | None = None, **more: Any
) -> DecisionResponse:
    """One decision."""
    request = DecisionRequest(customer_id=customer, direction=Direction(direction), **more)
    return answer(DecisionResponse, office.decide(request, call("POST /v1/decisions", key=key)))


def move(office: Office, kind: str, amount: int, balance: int, at: datetime, customer: str = HERO, currency: str = "USD",
         name: str | None = None) -> EventResponse:  # fmt: skip
    """One money movement, told in the instant it is booked."""
    event = EventRequest(event_id=name or f"e-{next(_turn)}", customer_id=customer, kind=EventKind(kind), amount_minor=amount,
                         currency=currency, balance_after_minor=balance, booked_at=at, recorded_at=at)  # fmt: skip
    return answer(EventResponse, office.event(event, call("POST /v1/events")))


def said(
    at: datetime, state: str = "withdrawn", customer: str = HERO, channel: str = "all", purpose: str = "marketing"
) -> ConsentRequest:
    """What a customer says of being contacted."""
    return ConsentRequest(customer_id=customer, purpose=ConsentPurpose(purpose), channel=ConsentChannel(channel),
                          state=ConsentState(state), at=at)  # fmt: skip


def rows(office: Office, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Raw rows of the ledger's file, past all of our code."""
    path = office.engine.home.path / "nbo.db"
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def run_until(tasks: list[Callable[[], Any]]) -> list[Any]:
    """Run the tasks in threads that start together; their results in order."""
    barrier = threading.Barrier(len(tasks))

    def together(task: Callable[[], Any]) -> Any:
        barrier.wait(30)
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(together, tasks))
