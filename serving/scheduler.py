"""The scheduler: runs campaigns when they fall due, through restarts, and never one of them twice.

What was begun, done and passed over stands in the ledger's journal before and after the list is made:

    watched -> (begun -> done | degraded | given_up) ...       skipped: missed, and the rule says not to catch up

A run that was begun is taken up again under its own instant: a list's name and its contacts' ids follow from
that, so the same list comes out and nothing is reserved twice, wherever the process was killed. One that cannot
be made stays begun until its day is over, or one of its campaigns may not run by itself any more, and keeps no
other from being made. One whose list was degraded, everybody silent, stays due and is made anew, as of then, when
the data are back. One scheduler works at a time; a second one stands by.
"""

import json
from collections.abc import Callable, Collection, Container, Generator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from features.home import Home
from serving.campaign import Campaign
from serving.changes.approved import live_campaigns, live_catalogue
from serving.changes.live import open_engine
from serving.engine import holidays_of
from serving.ledger.book import Action, Ledger, Touches, close
from serving.ledger.journal import Entered, enter
from serving.ledger.schema import contacts, journal
from serving.lists.plan import run_name
from serving.lists.shared import runs_of
from serving.schedule import ON_TIME, due_now

SCHEDULER = "scheduler"
HELD = Touches(names=("schedule",))
SECOND = timedelta(seconds=1)


class Made(Protocol):
    """What the scheduler asks of a list that was made."""

    @property
    def degraded(self) -> bool:
        """Whether everybody stays silent because data or models lack."""
        ...


MakeList = Callable[[Home, list[str], datetime], Made]


@dataclass(frozen=True)
class Standing:
    """How far the schedule of a campaign has come: all up to `after` is settled but for `open`, begun and not ended.

    degraded: the last list was, and everybody silent.
    """

    after: datetime
    open: "Run | None" = None
    degraded: bool = False


@dataclass(frozen=True, order=True)
class Run:
    """One run: campaigns that fell due at the same instant and share a run, made as of `at`."""

    at: datetime
    due: datetime
    campaigns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The list's name."""
        return run_name(self.campaigns, self.at)


class RunError(ValueError):
    """A run that was begun and cannot be made now; one line, which names its campaigns. It stays begun."""

    def __init__(self, run: Run, error: Exception) -> None:
        what = "" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: "
        why = f"{what}{' '.join(str(error).split())}"
        super().__init__(f"{', '.join(run.campaigns)}: not made as of {_text(run.at)}, due {_text(run.due)}: {why}")
        self.run = run


def look(home: Home, ledger: Ledger, make_list: MakeList, resting: Collection[Run] = ()) -> Generator[Run | RunError]:
    """Make everything that is due now: each run made, and why each of the others waits. resting: runs not to be tried."""
    tried = set(resting)
    while True:
        try:
            found = run_due(home, ledger, make_list, tried)
        except RunError as error:
            tried.add(error.run)
            yield error
        else:
            if found is None:
                return
            yield found


def run_due(home: Home, ledger: Ledger, make_list: MakeList, but: Collection[Run] = ()) -> Run | None:
    """Make the list that is next to be made now; null where none is due, or nothing was put into force yet.

    Called again, it goes on with what was begun; `but`: what was begun and is left alone. RunError where the list
    cannot be made.
    """
    silent = waiting_for_data(home, ledger)
    found = ledger.write(
        lambda connection: _begin(home, connection, ledger.now_micros(), but, silent), touches=HELD
    ).result()
    if isinstance(found, RunError):
        raise found
    if found is None:
        return None
    try:
        made = make_list(home, list(found.campaigns), found.at)
    except Exception as error:  # whatever is wrong with one list, the others are to be made
        raise RunError(found, error) from error
    # A silent list reserves nothing: its run stays due, and is made anew once there is something to say.
    state, after = ("degraded", found.due - SECOND) if made.degraded else ("done", found.due)
    ledger.write(lambda connection: _end(connection, found, state, after, ledger.now_micros()), touches=HELD).result()
    return found


def waiting_for_data(home: Home, ledger: Ledger) -> dict[str, str]:
    """Why campaigns whose last list was degraded are not made anew yet, one line each, by campaign; empty: nothing lacks."""
    with ledger.read() as connection:
        runnable = live_campaigns(connection, ledger.now_micros()).runnable
        silent = sorted(name for name, one in standings(connection).items() if one.degraded and name in runnable)
    problems = open_engine(home, ledger).problems(home.now()) if silent else ()
    if not problems:
        return {}
    return {name: f"{name}: its last list was degraded; it is made anew when this is mended: {'; '.join(problems)}"
            for name in silent}  # fmt: skip


def standings(connection: Connection) -> dict[str, Standing]:
    """How far the schedule of each campaign has come that was ever watched."""
    last = (
        select(func.max(journal.c.entry_id)).where(journal.c.kind == str(Entered.SCHEDULE)).group_by(journal.c.subject)
    )
    found = connection.execute(select(journal.c.subject, journal.c.body).where(journal.c.entry_id.in_(last)))
    return {name: _standing(json.loads(body)) for name, body in found}


def _begin(
    home: Home, connection: Connection, micros_now: int, but: Collection[Run], silent: Container[str]
) -> Run | RunError | None:
    """The run to make now, entered as begun; in one transaction with what is passed over. silent: not to be begun.

    RunError where all that is due has to wait for another second.
    """
    now = home.now().replace(microsecond=0)
    if (open_ := _opened(home, connection, now, micros_now, but)) is not None:
        return open_
    waiting, held = _waiting(home, connection, now, micros_now, silent), list[Run]()
    for due in sorted(waiting):
        for names in _shared(home, connection, waiting[due], now, micros_now):
            run = Run(now, due, names)
            if (home.lists / run.name).exists():  # one a second: the next look takes the next second
                held += [] if run in but else [run]
                continue
            for name in run.campaigns:
                _enter(connection, name, "begun", micros_now, after=run.due, due=run.due, at=now, run=run.name,
                       campaigns=run.campaigns)  # fmt: skip
            return run
    taken = "a list of this second stands already; it is made a second later, or when a simulated clock has moved on"
    return RunError(held[0], ValueError(taken)) if held else None


def _waiting(
    home: Home, connection: Connection, now: datetime, micros_now: int, silent: Container[str]
) -> dict[datetime, list[Campaign]]:
    """The campaigns to be run now, by when they fell due; enters what is passed over. What is begun waits for its end."""
    stood, closed, waiting = standings(connection), holidays_of(home), dict[datetime, list[Campaign]]()
    for name, campaign in live_campaigns(connection, micros_now).runnable.items():
        if name not in stood:  # what fell due long before anybody looked was not missed
            stood[name] = Standing(now - ON_TIME)
            _enter(connection, name, "watched", micros_now, after=stood[name].after)
        if stood[name].open is not None or name in silent:
            continue
        due = due_now(campaign, stood[name].after, now, closed, home.settings.zone)
        if due.skipped:
            skipped = [_text(instant) for instant in due.skipped]
            _enter(connection, name, "skipped", micros_now, after=due.skipped[-1], skipped=skipped)
        if due.run:
            waiting.setdefault(due.run[0], []).append(campaign)
    return waiting


def _shared(
    home: Home, connection: Connection, due: list[Campaign], now: datetime, micros_now: int
) -> list[tuple[str, ...]]:
    """The runs of campaigns due at one instant. Without one of these runs the others are the same: begun one by one, they stay so."""
    if len(due) == 1:  # most often, and the catalogue takes a while to read
        return [(due[0].id,)]
    return runs_of(due, live_catalogue(connection, micros_now), now.astimezone(home.settings.tz).date())


def _opened(home: Home, connection: Connection, now: datetime, micros_now: int, but: Collection[Run]) -> Run | None:
    """What was begun and has to be ended.

    What is not written is given up, and was missed, when its day is over or one of its campaigns may not run by
    itself any more: what is in force has changed since.
    """
    zone = home.settings.tz
    begun = sorted({one.open for one in standings(connection).values() if one.open is not None})
    runnable = live_campaigns(connection, micros_now).runnable if begun else {}
    for run in begun:
        may_be_made = run.at.astimezone(zone).date() == now.astimezone(zone).date() and set(run.campaigns) <= set(
            runnable
        )
        if not may_be_made and not (home.lists / run.name / "manifest.json").is_file():
            _take_back(connection, run.name, micros_now)
            _end(connection, run, "given_up", run.due - SECOND, micros_now)
        elif run not in but:
            return run
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
        return Standing(after, degraded=body["state"] == "degraded")
    at, due = (datetime.fromisoformat(body[name]) for name in ("at", "due"))
    return Standing(after, Run(at, due, tuple(body["campaigns"])))
