"""`nbo schedule run | next`: campaigns run when they fall due, and when that will be."""

import getpass
import sys
import time
from collections.abc import Container, Mapping
from datetime import datetime
from typing import Annotated

import typer
from pydantic import BaseModel

from features.home import Home
from features.terminal import AsJson, tell
from serving.campaign import Campaign, load_campaigns
from serving.changes.approved import LiveCampaigns, live_campaigns
from serving.changes.live import boot
from serving.commands.lists import PlanAnswer, make_list
from serving.engine import Engine, holidays_of
from serving.ledger.book import Ledger
from serving.ledger.changes import revision_in_force
from serving.office import open_ledger, reading_ledger
from serving.schedule import next_dues
from serving.scheduler import RunError, look, waiting_for_data
from serving.standby import alone
from serving.standing import Run

app = typer.Typer(help="Run campaigns when they fall due.", no_args_is_help=True)
LOOK_SECONDS, WAIT_MINUTES_MAX = 20, 15


class ScheduledRun(BaseModel):
    """One run of one campaign. run: the list's folder name, null before it ran.

    state: due, done, degraded (everybody is silent, made anew when the data are back), unapproved (never runs).
    contacts: of the whole list, all its campaigns, null before it ran; problems: why it is degraded, a line each.
    """

    campaign: str
    due_at: datetime
    run: str | None
    state: str
    contacts: int | None = None
    degraded: bool = False
    problems: tuple[str, ...] = ()


class ScheduleAnswer(BaseModel):
    """`nbo schedule next --json` and `nbo schedule run --json`: runs by due_at.

    refused: why a campaign does not run, a line each. standby: another scheduler is at work, nothing was done.
    failed: why a run waits, a line each. silent: whose last list was degraded and is not made anew yet, and why, a line each.
    """

    runs: list[ScheduledRun]
    refused: list[str] = []
    standby: bool = False
    failed: list[str] = []
    silent: list[str] = []

    @property
    def said_no(self) -> bool:
        """Whether anything that was due is not done."""
        return bool(self.failed or self.silent or any(run.degraded for run in self.runs))


class Retries:
    """When what failed is tried again: after twice as long each time, up to a quarter of an hour. Null: the look itself."""

    def __init__(self) -> None:
        self._failures = dict[Run | None, int]()
        self._rests_until = dict[Run | None, float]()

    def failed(self, run: Run | None = None) -> None:
        """Take down that it failed in this moment."""
        self._failures[run] = self._failures.get(run, 0) + 1
        rest_seconds = min(LOOK_SECONDS * 2 ** self._failures[run], WAIT_MINUTES_MAX * 60)
        self._rests_until[run] = time.monotonic() + rest_seconds

    def ended(self, run: Run | None = None) -> None:
        """Forget what it failed of."""
        self._failures.pop(run, None)
        self._rests_until.pop(run, None)

    def resting(self) -> set[Run | None]:
        """What is not to be tried yet."""
        return {run for run, until in self._rests_until.items() if time.monotonic() < until}


@app.command("run")
def run(context: typer.Context,
        once: Annotated[bool, typer.Option("--once", help="Make what is due now, then end: for cron and Airflow.")] = False,
        as_json: AsJson = False) -> int:  # fmt: skip
    """Make each list when it falls due, until stopped; catches up or skips what was missed, as the campaign says."""
    home, held, retries = Home.open(context.obj), False, Retries()
    while True:
        with alone(home) as first:
            if first or once:
                answer = _due(home, retries) if first else ScheduleAnswer(runs=[], standby=True)
                _say(answer, as_json)
                if once:
                    return 1 if answer.said_no else 0
                _watch(home, as_json, retries, answer)
        if not held:
            print("another scheduler is at work; standing by", file=sys.stderr, flush=True)
        held = True
        time.sleep(LOOK_SECONDS)


@app.command("next")
def coming(context: typer.Context, n: Annotated[int, typer.Option("--runs", min=1, max=100, help="Runs told of each.")] = 3,
           as_json: AsJson = False) -> None:  # fmt: skip
    """Say when each campaign runs next; holidays it skips are left out."""
    home = Home.open(context.obj)
    answer = _coming(home, n)
    lines = [f"{one.due_at:%F %H:%MZ}  {one.campaign}" + ("  NOT APPROVED: does not run" if one.state != "due" else "")
             for one in answer.runs]  # fmt: skip
    tell(answer, as_json, "\n".join(lines or ["nothing is to come"]))
    _say_refused(answer.refused)


def _coming(home: Home, n: int) -> ScheduleAnswer:
    with reading_ledger(home) as ledger, ledger.read() as connection:
        held = live_campaigns(connection, ledger.now_micros())
    # Before the first set the files are what will be put into force, and nobody has approved them.
    told = held.campaigns or load_campaigns(home.campaigns)
    return ScheduleAnswer(runs=coming_of(home, told, held.runnable, n), refused=_refused(held))


def coming_of(home: Home, told: Mapping[str, Campaign], runnable: Container[str], n: int) -> list[ScheduledRun]:
    """The next n runs of each campaign told of, by when they fall due; runnable: those that may run by themselves."""
    holidays, found = holidays_of(home), list[ScheduledRun]()
    for name, campaign in told.items():
        state = "due" if name in runnable else "unapproved"
        instants = next_dues(campaign, home.now(), holidays, home.settings.zone, n)
        found += [ScheduledRun(campaign=name, due_at=due, run=None, state=state) for due in instants]
    return sorted(found, key=lambda run: (run.due_at, run.campaign))


def _refused(held: LiveCampaigns) -> list[str]:
    return [line for name, line in held.refused.items() if held.campaigns[name].schedule]


def _watch(home: Home, as_json: bool, retries: Retries, before: ScheduleAnswer) -> None:
    """Look again and again; what failed rests meanwhile, and holds up nothing else."""
    while True:
        time.sleep(LOOK_SECONDS)
        if None in retries.resting():
            continue
        answer = _due(home, retries)
        if answer.runs or answer.failed or (answer.refused, answer.silent) != (before.refused, before.silent):
            _say(answer, as_json)
        before = answer


def _due(home: Home, retries: Retries) -> ScheduleAnswer:
    """Make everything that is due but what rests; a run that fails stays begun, and the others are made."""
    answer, made = ScheduleAnswer(runs=[]), dict[str, PlanAnswer]()

    def make(home: Home, campaigns: list[str], at: datetime) -> PlanAnswer:
        found = make_list(home, campaigns, at, by_itself=True)
        return made.setdefault(found.run, found)

    try:
        home = Home.open(home.path)  # a simulated clock may have been moved
        with open_ledger(home) as ledger:
            _put_into_force(home, ledger)
            with ledger.read() as connection:
                answer.refused += _refused(live_campaigns(connection, ledger.now_micros()))
            for found in look(home, ledger, make, {run for run in retries.resting() if run is not None}):
                if isinstance(found, RunError):
                    answer.failed.append(str(found))
                    retries.failed(found.run)
                    continue
                retries.ended(found)
                answer.runs += _runs(found, made[found.name])
            answer.silent += _still_silent(home, ledger, answer.runs)
            retries.ended()
    except (ValueError, OSError) as error:
        answer.failed.append(" ".join(str(error).split()))
        retries.failed()
    return answer


def _runs(run: Run, made: PlanAnswer) -> list[ScheduledRun]:
    return [ScheduledRun(campaign=name, due_at=run.due, run=run.name, state="degraded" if made.degraded else "done",
                         contacts=made.contacts, degraded=made.degraded, problems=made.problems)
            for name in run.campaigns]  # fmt: skip


def _still_silent(home: Home, ledger: Ledger, runs: list[ScheduledRun]) -> list[str]:
    """Why campaigns wait for data whose degraded list was made at a former look."""
    told = {run.campaign for run in runs if run.degraded}
    return [line for name, line in waiting_for_data(home, ledger).items() if name not in told]


def _put_into_force(home: Home, ledger: Ledger) -> None:
    """The files, where nothing is: then they wait for a second person."""
    with ledger.read() as connection:
        if revision_in_force(connection, ledger.now_micros()) is not None:
            return
    boot(Engine.open(home), ledger, f"operator {getpass.getuser()}")


def _say(answer: ScheduleAnswer, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(answer.model_dump_json() + "\n")
    else:
        lines = [
            f"{one.campaign}: made {one.run}, due {one.due_at:%F %H:%MZ}" + ("; DEGRADED" if one.degraded else "")
            for one in answer.runs
        ]
        lines += ["another scheduler is at work; nothing done"] if answer.standby else []
        sys.stdout.writelines(
            f"{line}\n" for line in lines or ([] if answer.failed or answer.silent else ["nothing is due"])
        )
    sys.stdout.flush()
    _say_refused([*answer.refused, *answer.silent, *_degraded(answer.runs)])
    for line in answer.failed:
        print(f"error: {line}", file=sys.stderr, flush=True)


def _degraded(runs: list[ScheduledRun]) -> list[str]:
    names: dict[tuple[str | None, tuple[str, ...]], list[str]] = {}
    for one in runs:
        if one.degraded:
            names.setdefault((one.run, one.problems), []).append(one.campaign)
    return [f"{', '.join(those)}: DEGRADED, everyone stays silent: {'; '.join(problems)}; made anew when this is mended"
            for (_, problems), those in names.items()]  # fmt: skip


def _say_refused(lines: list[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)
