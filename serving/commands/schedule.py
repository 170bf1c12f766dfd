"""`nbo schedule run | next`: campaigns run when they fall due, and when that will be."""

import sys
import time
from datetime import datetime
from typing import Annotated

import typer
from pydantic import BaseModel

from features.home import Home
from serving.campaign import load_campaigns
from serving.commands.lists import make_list
from serving.engine import holidays_of
from serving.office import open_ledger
from serving.schedule import next_dues
from serving.scheduler import alone, run_due

app = typer.Typer(help="Run campaigns when they fall due.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
LOOK_SECONDS, WAIT_MINUTES_MAX = 20, 15


class Made(BaseModel):
    """One run that was made: its list, for when it was due, and its campaigns."""

    run: str
    due: datetime
    campaigns: tuple[str, ...]


class RunAnswer(BaseModel):
    """`nbo schedule run --once --json`. standby: another scheduler is at work, nothing was done. failed: why a run waits."""

    made: list[Made]
    standby: bool
    failed: str | None


class Coming(BaseModel):
    """When a campaign runs next, in UTC; approved: whether it will run at all."""

    campaign: str
    cron: str
    zone: str
    missed: str
    approved: bool
    due: list[datetime]


class NextAnswer(BaseModel):
    """`nbo schedule next --json`: the campaigns that have a schedule."""

    as_of: datetime
    campaigns: list[Coming]


@app.command("run")
def run(context: typer.Context,
        once: Annotated[bool, typer.Option("--once", help="Make what is due now, then end: for cron and Airflow.")] = False,
        as_json: Json = False) -> int:  # fmt: skip
    """Make each list when it falls due, until stopped; catches up or skips what was missed, as the campaign says."""
    home, held = Home.open(context.obj), False
    while True:
        with alone(home) as first:
            if first or once:
                answer = _due(home) if first else RunAnswer(made=[], standby=True, failed=None)
                _say(answer, as_json)
                if once:
                    return 1 if answer.failed else 0
                _watch(home, as_json, failed=bool(answer.failed))
        if not held:
            print("another scheduler is at work; standing by", file=sys.stderr, flush=True)
        held = True
        time.sleep(LOOK_SECONDS)


@app.command("next")
def coming(context: typer.Context, n: Annotated[int, typer.Option("--runs", min=1, max=100, help="Runs told of each.")] = 3,
           as_json: Json = False) -> None:  # fmt: skip
    """Say when each campaign runs next; holidays it skips are left out."""
    home = Home.open(context.obj)
    answer = _coming(home, n)
    lines = [f"{one.campaign:<24} {', '.join(f'{due:%F %H:%MZ}' for due in one.due) or 'no more in its window'}"
             + ("" if one.approved else "  NOT APPROVED: does not run") for one in answer.campaigns]  # fmt: skip
    sys.stdout.write(
        (answer.model_dump_json() if as_json else "\n".join(lines or ["no campaign has a schedule"])) + "\n"
    )


def _coming(home: Home, n: int) -> NextAnswer:
    now, holidays, zone = home.now(), holidays_of(home), home.settings.zone
    found = [
        Coming(campaign=name, cron=campaign.schedule.cron, zone=campaign.schedule.zone or zone, missed=campaign.schedule.missed,
               approved=campaign.approved_by is not None, due=next_dues(campaign, now, holidays, zone, n))
        for name, campaign in load_campaigns(home.campaigns).items() if campaign.schedule
    ]  # fmt: skip
    return NextAnswer(as_of=now, campaigns=found)


def _watch(home: Home, as_json: bool, failed: bool) -> None:
    """Look again and again; what failed waits twice as long each time, up to a quarter of an hour."""
    failures = int(failed)
    while True:
        time.sleep(min(LOOK_SECONDS * 2**failures, WAIT_MINUTES_MAX * 60) if failures else LOOK_SECONDS)
        answer = _due(home)
        failures = failures + 1 if answer.failed else 0
        if answer.made or answer.failed:
            _say(answer, as_json)


def _due(home: Home) -> RunAnswer:
    """Make everything that is due; an error ends the look, not the scheduler: the run stays begun."""
    made: list[Made] = []
    try:
        home = Home.open(home.path)  # a simulated clock may have been moved
        with open_ledger(home) as ledger:
            while (found := run_due(home, ledger, make_list)) is not None:
                made.append(Made(run=found.name, due=found.due, campaigns=found.campaigns))
    except (ValueError, OSError) as error:
        return RunAnswer(made=made, standby=False, failed=" ".join(str(error).split()))
    return RunAnswer(made=made, standby=False, failed=None)


def _say(answer: RunAnswer, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(answer.model_dump_json() + "\n")
    else:
        lines = [f"made {made.run}, due {made.due:%F %H:%MZ}" for made in answer.made]
        lines += ["another scheduler is at work; nothing done"] if answer.standby else []
        sys.stdout.writelines(f"{line}\n" for line in lines or ([] if answer.failed else ["nothing is due"]))
    sys.stdout.flush()
    if answer.failed:
        print(f"error: {answer.failed}", file=sys.stderr, flush=True)
