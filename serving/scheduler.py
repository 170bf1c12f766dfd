"""The scheduler: runs campaigns when they fall due, through restarts, and never one of them twice.

What was begun, done and passed over stands in the ledger's journal before and after the list is made:

    watched -> (begun -> done | given_up) ...       skipped: missed, and the rule says not to catch up

A run that was begun is taken up again under its own instant: a list's name and its contacts' ids follow from
that, so the same list comes out and nothing is reserved twice, wherever the process was killed. One scheduler
works at a time; a second one stands by.
"""

import fcntl
import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import create_engine, func, select, text
from sqlalchemy.engine import Connection, make_url

from features.home import Home
from serving.changes.approved import live_campaigns
from serving.engine import holidays_of
from serving.ledger.book import Action, Ledger, Touches, close
from serving.ledger.journal import Entered, enter
from serving.ledger.schema import contacts, journal
from serving.lists.plan import run_name
from serving.schedule import ON_TIME, due_now

SCHEDULER = "scheduler"
HELD = Touches(names=("schedule",))
LOCK = 4720260604  # beside those of serving.ledger.locks
SECOND = timedelta(seconds=1)
MakeList = Callable[[Home, list[str], datetime], object]


@dataclass(frozen=True)
class Standing:
    """How far the schedule of a campaign has come: all up to `after` is settled but for `open`, begun and not ended."""

    after: datetime
    open: "Run | None" = None


@dataclass(frozen=True, order=True)
class Run:
    """One run: campaigns that fell due at the same instant, made as of `at`."""

    at: datetime
    due: datetime
    campaigns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The list's name."""
        return run_name(self.campaigns, self.at)


def run_due(home: Home, ledger: Ledger, make_list: MakeList) -> Run | None:
    """Make the list that is next to be made now; null where none is due, or nothing was put into force yet.

    Called again, it goes on with what was begun. Errors of the list are the caller's: the run stays begun.
    """
    found = ledger.write(lambda connection: _begin(home, connection, ledger.now_micros()), touches=HELD).result()
    if found is None:
        return None
    make_list(home, list(found.campaigns), found.at)
    ledger.write(
        lambda connection: _end(connection, found, "done", found.due, ledger.now_micros()), touches=HELD
    ).result()
    return found


def standings(connection: Connection) -> dict[str, Standing]:
    """How far the schedule of each campaign has come that was ever watched."""
    last = (
        select(func.max(journal.c.entry_id)).where(journal.c.kind == str(Entered.SCHEDULE)).group_by(journal.c.subject)
    )
    found = connection.execute(select(journal.c.subject, journal.c.body).where(journal.c.entry_id.in_(last)))
    return {name: _standing(json.loads(body)) for name, body in found}


@contextmanager
def alone(home: Home) -> Generator[bool]:
    """Whether this is the only scheduler of the home, and stays so inside the block; ends with the process.

    On one machine a locked file says so, between machines the PostgreSQL server both use.
    """
    file = os.open(home.path / ".scheduler", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        with _alone_at_server(home) as first:
            yield first
    finally:
        os.close(file)


@contextmanager
def _alone_at_server(home: Home) -> Generator[bool]:
    url = make_url(home.database_url)
    if url.get_backend_name() != "postgresql":
        yield True
        return
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield bool(connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}).scalar())
    finally:
        engine.dispose()


def _begin(home: Home, connection: Connection, micros_now: int) -> Run | None:
    """The run to make now, entered as begun; in one transaction with what is passed over."""
    now = home.now().replace(microsecond=0)
    if (open_ := _opened(home, connection, now, micros_now)) is not None:
        return open_
    stood, closed, waiting = standings(connection), holidays_of(home), dict[datetime, list[str]]()
    for name, campaign in live_campaigns(connection, micros_now).runnable.items():
        if name not in stood:  # what fell due long before anybody looked was not missed
            stood[name] = Standing(now - ON_TIME)
            _enter(connection, name, "watched", micros_now, after=stood[name].after)
        due = due_now(campaign, stood[name].after, now, closed, home.settings.zone)
        if due.skipped:
            skipped = [_text(instant) for instant in due.skipped]
            _enter(connection, name, "skipped", micros_now, after=due.skipped[-1], skipped=skipped)
        if due.run:
            waiting.setdefault(due.run[0], []).append(name)
    if not waiting:
        return None
    run = Run(now, min(waiting), tuple(sorted(waiting[min(waiting)])))
    if (home.lists / run.name).exists():  # one a second: the next look takes the next second
        return None
    for name in run.campaigns:
        _enter(connection, name, "begun", micros_now, after=run.due, due=run.due, at=now, run=run.name,
               campaigns=run.campaigns)  # fmt: skip
    return run


def _opened(home: Home, connection: Connection, now: datetime, micros_now: int) -> Run | None:
    """What was begun and has to be ended; what was begun on a day that is over is given up, and was missed."""
    zone = home.settings.tz
    for run in sorted({one.open for one in standings(connection).values() if one.open is not None}):
        today = run.at.astimezone(zone).date() == now.astimezone(zone).date()
        if today or (home.lists / run.name / "manifest.json").is_file():
            return run
        _take_back(connection, run.name, micros_now)
        _end(connection, run, "given_up", run.due - SECOND, micros_now)
    return None


def _take_back(connection: Connection, run: str, micros_now: int) -> None:
    for contact_id in connection.execute(select(contacts.c.contact_id).where(
            contacts.c.decision_id == run, contacts.c.state == "reserved")).scalars().all():  # fmt: skip
        close(connection, contact_id, Action.RECALL, micros_now, "superseded")


def _end(connection: Connection, run: Run, state: str, after: datetime, micros_now: int) -> None:
    stood = standings(connection)
    for name in run.campaigns:
        if stood[name].open == run:  # nobody ended it meanwhile
            _enter(connection, name, state, micros_now, after=after, run=run.name)


def _enter(connection: Connection, campaign: str, state: str, micros_now: int, **body: Any) -> None:
    told = {key: _text(value) if isinstance(value, datetime) else value for key, value in body.items()}
    enter(connection, Entered.SCHEDULE, campaign, SCHEDULER, micros_now, state=state, **told)


def _text(instant: datetime) -> str:
    return f"{instant:%FT%TZ}"


def _standing(body: dict[str, Any]) -> Standing:
    after = datetime.fromisoformat(body["after"])
    if body["state"] != "begun":
        return Standing(after)
    at, due = (datetime.fromisoformat(body[name]) for name in ("at", "due"))
    return Standing(after, Run(at, due, tuple(body["campaigns"])))
