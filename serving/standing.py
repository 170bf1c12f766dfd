"""How far the schedule of each campaign has come: states in the ledger's journal, the newest of a campaign in force.

watched -> (begun -> done | degraded | given_up) ...       skipped: missed, and the rule says not to catch up
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from serving.ledger.journal import Entered, enter
from serving.ledger.schema import journal
from serving.lists.plan import run_name

SCHEDULER = "scheduler"


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


def standings(connection: Connection) -> dict[str, Standing]:
    """How far the schedule of each campaign has come that was ever watched."""
    last = (
        select(func.max(journal.c.entry_id)).where(journal.c.kind == str(Entered.SCHEDULE)).group_by(journal.c.subject)
    )
    found = connection.execute(select(journal.c.subject, journal.c.body).where(journal.c.entry_id.in_(last)))
    return {name: _standing(json.loads(body)) for name, body in found}


def begun(connection: Connection) -> list[Run]:
    """What was begun and not ended, the oldest first."""
    return sorted({one.open for one in standings(connection).values() if one.open is not None})


def end(connection: Connection, run: Run, state: str, after: datetime, micros_now: int) -> None:
    """Enter of each of the run's campaigns that it has ended so; one that somebody ended meanwhile is left as it is."""
    stood = standings(connection)
    for name in run.campaigns:
        if stood[name].open == run:
            enter_state(connection, name, state, micros_now, after=after, run=run.name)


def enter_state(connection: Connection, campaign: str, state: str, micros_now: int, **body: Any) -> None:
    """Enter a state of a campaign's schedule. body: `after`, and what belongs to the state; instants as texts in UTC."""
    told = {key: instant_text(value) if isinstance(value, datetime) else value for key, value in body.items()}
    enter(connection, Entered.SCHEDULE, campaign, SCHEDULER, micros_now, state=state, **told)


def instant_text(instant: datetime) -> str:
    """As the journal has it."""
    return f"{instant:%FT%TZ}"


def _standing(body: dict[str, Any]) -> Standing:
    after = datetime.fromisoformat(body["after"])
    if body["state"] != "begun":
        return Standing(after, degraded=body["state"] == "degraded")
    at, due = (datetime.fromisoformat(body[name]) for name in ("at", "due"))
    return Standing(after, Run(at, due, tuple(body["campaigns"])))
