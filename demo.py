"""`nbo demo`: a simulated bank from its tables to a list, to answers, to the USD story from the records."""

import hashlib
import shutil
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
import typer
from pydantic import BaseModel

from features.home import Home, Settings
from features.intake import import_tables
from features.store import FeatureStore
from features.terminal import AsJson
from rules.draws import share_of
from rules.reasons import ReasonCode
from serving.commands.lists import PlanAnswer, bars, make_list, plan_lines
from serving.engine import HOLDOUT_SHARE
from serving.example import equip
from serving.http.door import Call
from serving.http.messages import DecisionRequest, DecisionResponse, EventKind, EventRequest
from serving.ledger.keys import Principal, Role
from serving.office import open_office
from simulation.bank import simulate
from training.errors import GateError
from training.promotion import promote

UNTIL = datetime(2026, 6, 1, tzinfo=UTC)
CURRENCY = "CNY"
MORNING = UNTIL + timedelta(hours=2)  # 10:00 in Shanghai, the day after the last booking
HERO = "C0000001"  # simulation/cast.py: he holds USD 12,000
STORY_HOURS = 11 * 24  # the demo's bank feeds once; what happens later comes as events
DEPOSIT_MINOR, LEFT_MINOR = 1_200_000, 1_150_000
DOLLAR_OFFERS = ("deposit_usd_6m", "wealth_usd_income")
TOLD_REASONS = ("recent_outflow", "funds_below_entry")


class DemoError(ValueError):
    """The demo cannot run, or did not show what it promises; one line."""


class StoryStep(BaseModel):
    """One step of the USD story. said: the offer and channel, or the reasons of silence."""

    when: datetime
    what: str
    door: str
    said: str
    decision_id: str | None = None


class DemoAnswer(BaseModel):
    """`nbo demo --json`: the list, the models' quality on later data, the story, seconds per stage."""

    home: str
    list_path: str
    plan: PlanAnswer
    models: dict[str, dict[str, float | None]]
    story: list[StoryStep]
    seconds: dict[str, float]


def demo(context: typer.Context,
         customers: Annotated[int, typer.Option(min=1000, help="People, households and firms.")] = 20_000,
         seed: Annotated[int, typer.Option(help="Another seed, another bank.")] = 7,
         as_json: AsJson = False) -> None:  # fmt: skip
    """Simulate a bank and walk the whole road: import, features, models, rules, list, decisions."""
    seconds: dict[str, float] = {}
    home = _home(context.obj, seed)
    with bars() as show:
        _stage(seconds, "simulated bank", lambda: _simulate(home, customers, seed, show))
        store = FeatureStore(home)
        _stage(seconds, "features", lambda: store.build(UNTIL, _named(show, customers)))
        models = _stage(seconds, "models", lambda: _models(home, show))
    before = _stage(seconds, "list", lambda: make_list(home, ["all_year", "dollars"], UNTIL))
    story = _stage(seconds, "story", lambda: _story(home, before))
    answer = DemoAnswer(
        home=str(home.path), list_path=before.path or "", plan=before, models=models, story=story, seconds=seconds
    )
    sys.stdout.write(answer.model_dump_json() + "\n" if as_json else "\n".join(_told(answer)) + "\n")


def _home(path: Path, seed: int) -> Home:
    if path.exists() and not (path / "demo").exists() and not (path.is_dir() and not any(path.iterdir())):
        raise DemoError(f"`{path}` exists and is no demo bank; choose another with nbo --home DIR demo")
    shutil.rmtree(path, ignore_errors=True)
    settings = Settings(name="Demo bank", currency=CURRENCY, currencies=("CNY", "USD", "EUR", "JPY"), zone="Asia/Shanghai",
                        clock="simulated", now=UNTIL, snapshot_max_age_hours=STORY_HOURS)  # fmt: skip
    home = Home.create(path, settings)
    (path / "demo").touch()  # a later demo may throw this home away, and no other
    (path / "secret.key").write_text(_secret(seed), "ascii")
    equip(home, "retail")
    return home


def _secret(seed: int) -> str:
    """A secret made of the seed, so that two demos draw alike; one that does not hold the story's customer out."""
    for turn in range(1000):
        secret = hashlib.sha256(f"demo {seed} {turn}".encode()).digest()
        if share_of(secret, "holdout", "2026H1", [HERO])[0] >= HOLDOUT_SHARE:
            return secret.hex()
    raise DemoError("no secret leaves the story's customer in; choose another seed")


def _stage(seconds: dict[str, float], name: str, work: Any) -> Any:
    started = time.monotonic()
    found = work()
    seconds[name] = round(time.monotonic() - started, 1)
    print(f"{name}: {seconds[name]:.1f} s", file=sys.stderr)
    return found


def _simulate(home: Home, customers: int, seed: int, show: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="nbo-bank-") as folder:
        simulate(Path(folder), customers, seed, until=UNTIL, progress=_counting(show, customers))
        import_tables(home, Path(folder), lambda table, rows: show(f"import {table}", rows, rows))
        truth = home.path / "truth"
        if (Path(folder) / "truth").is_dir():
            shutil.copytree(Path(folder) / "truth", truth)


def _named(show: Any, customers: int) -> Any:
    """A callback that is told (stage, done)."""

    def told(stage: str, done: int) -> None:
        show(stage, done, customers)

    return told


def _counting(show: Any, customers: int) -> Any:
    """A callback that is told increments and shows their sum."""
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        show("simulated customers", done, customers)

    return told


def _models(home: Home, show: Any) -> dict[str, dict[str, float | None]]:
    from training.train import train_all  # the other commands have no use for what it imports

    quality: dict[str, dict[str, float | None]] = {}
    for model in train_all(home, UNTIL, 0, show):
        quality[model.name] = dict(model.metrics)
        try:
            promote(home, model.name, model.version)
        except GateError as error:
            print(f"not promoted: {error}; see docs/models.md", file=sys.stderr)
    return quality


def _story(home: Home, listed: PlanAnswer) -> list[StoryStep]:
    """The offer, the withdrawal, the silence in endpoint and list alike, the return after a new deposit."""
    steps = [StoryStep(when=UNTIL, what="he holds USD 12,000.00", door="list", said=_in_list(listed))]
    for days, what, told, doors in (
        (2, "nothing has happened since", None, ("endpoint",)),
        (4, "he withdrew USD 11,500.00 a minute ago", (EventKind.CASH_WITHDRAWAL, -LEFT_MINOR, DEPOSIT_MINOR - LEFT_MINOR), ("endpoint", "list")),
        (8, "he paid USD 11,500.00 in a minute ago", (EventKind.CASH_DEPOSIT, LEFT_MINOR, DEPOSIT_MINOR), ("endpoint",)),
        (10, "the dollars are still there", None, ("list",)),
    ):  # fmt: skip
        at = MORNING + timedelta(days=days)
        home = home.move_clock(at)
        if told:
            _tell(home, at, told)
        if "list" in doors:
            steps.append(StoryStep(when=at, what=what, door="list", said=_in_list(make_list(home, ["dollars"], at))))
        if "endpoint" in doors:
            said, decision_id = _ask(home, at)
            steps.append(StoryStep(when=at, what=what, door="endpoint", said=said, decision_id=decision_id))
    return steps


CALLER = Principal("app-demo", Role.CHANNEL)
OFFICER = Principal("compliance-demo", Role.COMPLIANCE)  # sees every channel


def _tell(home: Home, at: datetime, told: tuple[EventKind, int, int]) -> None:
    """Report the movement, booked a minute ago, as a core banking system would."""
    kind, amount, balance = told
    just = at - timedelta(minutes=1)
    event = EventRequest(event_id=f"demo-{at:%Y%m%d}", customer_id=HERO, kind=kind, amount_minor=amount, currency="USD",
                         balance_after_minor=balance, booked_at=just, recorded_at=just)  # fmt: skip
    with closing(open_office(home.path, serving=False)) as office:
        office.event(event, Call(CALLER, "POST /v1/events", f"event-{at:%Y%m%d}", "0" * 64)).result()


def _ask(home: Home, at: datetime) -> tuple[str, str]:
    """(what the service says of the customer, the decision's id)."""
    with closing(open_office(home.path, serving=False)) as office:
        call = Call(CALLER, "POST /v1/decisions", f"ask-{at:%Y%m%d}", "0" * 64)
        answer = DecisionResponse.model_validate_json(
            office.decide(DecisionRequest(customer_id=HERO), call).result().body
        )
        cells = office.why(answer.decision_id, Call(OFFICER, "GET /v1/decisions/{decision_id}/why")).cells
    closed = sorted(
        {
            reason
            for cell in cells
            if cell.offer_id in DOLLAR_OFFERS
            for reason in cell.reasons
            if reason in TOLD_REASONS
        }
    )
    said = f"{answer.offer_id} by {answer.channel}" if answer.offer_id else f"silent: {', '.join(answer.reasons)}"
    return said + (f"; dollar offers closed: {', '.join(closed)}" if closed else ""), answer.decision_id


def _in_list(answer: PlanAnswer) -> str:
    """What a list says of the customer: his offer, or the reasons he is left out for."""
    if answer.path is None:
        raise DemoError("a dry run has no list")
    offers = pq.read_table(Path(answer.path) / "offers.parquet", filters=[("customer_id", "=", HERO)]).to_pylist()
    if offers:
        return f"{offers[0]['offer_id']} by {offers[0]['channel']}"
    silent = pq.read_table(Path(answer.path) / "suppressed.parquet", filters=[("customer_id", "=", HERO)]).to_pylist()
    if not silent:
        return "held out"
    return "silent: " + ", ".join(ReasonCode(number).slug for number in silent[0]["reasons"])


def _told(answer: DemoAnswer) -> list[str]:
    lines = ["", *plan_lines(answer.plan, CURRENCY), "", "first rows of offers.csv:"]
    with (Path(answer.list_path) / "offers.csv").open(encoding="utf-8") as file:
        lines += [f"  {line.rstrip()}" for line in islice(file, 6)]
    lines += ["", "models on later data (area under the curve):"]
    lines += [
        f"  {name:<10} {metrics['auc']:.3f}"
        for name, metrics in answer.models.items()
        if metrics.get("auc") is not None
    ]
    lines += ["", "the customer who withdrew his dollars, from the records:"]
    lines += [f"  {step.when:%Y-%m-%d %H:%M}  {step.door:<8}  {step.what}\n      -> {step.said}" + (f"   [{step.decision_id}]" if step.decision_id else "")
              for step in answer.story]  # fmt: skip
    home = answer.home
    lines += ["", f"next: nbo --home {home} audit why {next(s.decision_id for s in answer.story if s.decision_id)}",
              f"      nbo --home {home} serve", f"list: {answer.list_path}"]  # fmt: skip
    return lines
