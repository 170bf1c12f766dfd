"""The scheduler: runs campaigns when they fall due, through restarts, and never one of them twice.

What was begun, done and passed over stands in the ledger's journal before and after the list is made:

    watched -> (begun -> done | degraded | given_up) ...       skipped: missed, and the rule says not to catch up

A run that was begun is taken up again under its own instant: a list's name and its contacts' ids follow from
that, so the same list comes out and nothing is reserved twice, wherever the process was killed. One that cannot
be made stays begun until its day is over, or one of its campaigns may not run by itself any more, and keeps no
other from being made. One whose list was degraded, everybody silent, stays due and is made anew, as of then, when
the data are back. One scheduler works at a time; a second one stands by.
"""

from collections.abc import Callable, Collection, Container, Generator
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy.engine import Connection

from features.home import Home
from serving.campaign import Campaign
from serving.changes.approved import live_campaigns, live_catalogue
from serving.changes.live import open_engine
from serving.engine import holidays_of
from serving.ledger.book import Ledger, Touches
from serving.ledger.recalling import recall_superseded
from serving.lists.shared import runs_of
from serving.schedule import ON_TIME, due_now
from serving.standing import Run, Standing, begun, end, enter_state, instant_text, standings

HELD = Touches(names=("schedule",))
SECOND = timedelta(seconds=1)


class Made(Protocol):
    """What the scheduler asks of a list that was made."""

    @property
    def degraded(self) -> bool:
        """Whether everybody stays silent because data or models lack."""
        ...


MakeList = Callable[[Home, list[str], datetime], Made]


class RunError(ValueError):
    """A run that was begun and cannot be made now; one line, which names its campaigns. It stays begun."""

    def __init__(self, run: Run, error: Exception) -> None:
        what = "" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: "
        why = f"{what}{' '.join(str(error).split())}"
        super().__init__(
            f"{', '.join(run.campaigns)}: not made as of {instant_text(run.at)}, due {instant_text(run.due)}: {why}"
        )
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

    Called again, it goes on with what was begun; `but`: what was begun and is left alone. What was begun and may not
    be made any more is given up first. RunError where the list cannot be made.
    """
    _give_up(home, ledger)
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
    ledger.write(lambda connection: end(connection, found, state, after, ledger.now_micros()), touches=HELD).result()
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
                enter_state(connection, name, "begun", micros_now, after=run.due, due=run.due, at=now, run=run.name,
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
            enter_state(connection, name, "watched", micros_now, after=stood[name].after)
        if stood[name].open is not None or name in silent:
            continue
        due = due_now(campaign, stood[name].after, now, closed, home.settings.zone)
        if due.skipped:
            skipped = [instant_text(instant) for instant in due.skipped]
            enter_state(connection, name, "skipped", micros_now, after=due.skipped[-1], skipped=skipped)
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
    """What was begun and has to be ended."""
    over = _over(home, connection, now, micros_now)
    return next((run for run in begun(connection) if run not in over and run not in but), None)


def _over(home: Home, connection: Connection, now: datetime, micros_now: int) -> list[Run]:
    """What was begun and is not written, whose day is over, or one of whose campaigns may not run by itself any more.

    What is in force has changed since.
    """
    waiting, zone = begun(connection), home.settings.tz
    runnable = set(live_campaigns(connection, micros_now).runnable if waiting else ())
    return [
        run
        for run in waiting
        if run.at.astimezone(zone).date() != now.astimezone(zone).date() or not runnable.issuperset(run.campaigns)
        if not (home.lists / run.name / "manifest.json").is_file()
    ]


def _give_up(home: Home, ledger: Ledger) -> None:
    """End what is over as missed, once what it reserved is recalled; cut short between the two, it is given up again."""
    with ledger.read() as connection:
        over = _over(home, connection, home.now(), ledger.now_micros())
    for run in over:
        recall_superseded(ledger, run.name)
        ended = ledger.write(
            lambda connection, run=run: end(connection, run, "given_up", run.due - SECOND, ledger.now_micros()),
            touches=HELD,
        )
        ended.result()
