"""`nbo plan`: the list of one or more campaigns."""

import getpass
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from features.commands import parse_instant
from features.home import Home
from features.settings import Engines
from features.terminal import AsJson, tell
from rules.line import Line
from rules.money import money
from serving.bids import PRICES, held_for_run, publish
from serving.changes.approved import live_campaigns, unapproved
from serving.changes.live import boot, drafts
from serving.engine import Engine
from serving.history import ensure_seeded
from serving.ledger.book import Ledger
from serving.ledger.journal import Entered, enter
from serving.lists.allocate import SCALE
from serving.lists.batch import DecideAll, decide_all
from serving.lists.certificate import Certificate, LimitUse
from serving.lists.files import certificate, read_manifest, write_list
from serving.lists.funnel import Funnel, funnel
from serving.lists.limits import CONTACT
from serving.lists.manifest import enter_manifest
from serving.lists.overdue import check_sendable
from serving.lists.plan import Plan, Progress, check_campaigns, make_plan, reserve_plan, run_name
from serving.lists.volume import volume
from serving.office import open_engine, open_ledger, reading_ledger

AsOf = Annotated[
    str | None, typer.Option("--as-of", help="Instant with zone, or a day; default: the present of the home's clock.")
]
LIMITS_TOLD = 30


class PlanError(ValueError):
    """A list cannot be made so; one line."""


class PlanAnswer(BaseModel):
    """`nbo plan --json`. path: the list's folder, null for a dry run. lost: contacts other doors took.

    problems: why it is degraded, and everybody silent, one line each.
    """

    run: str
    as_of: datetime
    path: str | None
    dry_run: bool
    contacts: int
    lost: int
    funnel: Funnel
    certificate: Certificate
    assumptions: tuple[str, ...]
    degraded: bool
    problems: tuple[str, ...] = ()


def plan(context: typer.Context, campaigns: list[str], as_of: AsOf = None,
         dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide only; write nothing.")] = False,
         confirm: Annotated[bool, typer.Option("--confirm", help="Make it although it is far larger than usual.")] = False,
         engine: Annotated[Engines | None, typer.Option(help="Where it is computed; default: the home's bank.yaml.")] = None,
         as_json: AsJson = False) -> None:  # fmt: skip
    """Make the offer list of one or more campaigns, reserve its contacts, write it to lists/."""
    home = Home.open(context.obj)
    at = parse_instant(as_of, home) if as_of else home.now()
    answer = make_list(home, campaigns, at, dry_run=dry_run, confirm=confirm, on=engine, sendable=True)
    text = "\n".join(plan_lines(answer, home.settings.currency))
    tell(answer, as_json, text)


def make_list(home: Home, campaigns: list[str], at: datetime, *, dry_run: bool = False, confirm: bool = False,
              operator: str | None = None, progress: Progress | None = None, on: Engines | None = None,
              sendable: bool = False, by_itself: bool = False) -> PlanAnswer:  # fmt: skip
    """Plan, reserve and write one run; a run that is written already is read back.

    operator: who has it made, null for the user of this machine. progress: null for bars on stderr. on: where
    it is computed, null for what bank.yaml says. VolumeError where it has far more contacts than usual and nobody confirms.
    sendable: OverdueError where nothing of it could be sent any more. by_itself: nobody started it; PlanError where
    one of the campaigns in force is not what a second person approved.
    """
    operator = operator or _operator()
    engine = draft_engine(home) if dry_run else open_engine(home)
    folder = home.lists / run_name(campaigns, at)
    written = not dry_run and (folder / "manifest.json").is_file()
    if not written:  # else a campaign that has left the set since would keep its last run from ever being ended
        check_campaigns(engine, campaigns, at)
    if dry_run:
        with (
            _showing(progress) as show,
            reading_ledger(home, engine, _seeding(show)) as ledger,
            _driver(home, on) as deciding,
        ):
            made = make_plan(engine, ledger, campaigns, at, show, deciding)
    elif written:
        with open_ledger(home) as ledger:  # a run cut short after its files stood
            enter_manifest(ledger, folder, operator)
            _publish(ledger, folder.name, at, folder)
        return _written(folder)
    elif at > home.now():
        raise PlanError(f"as-of `{at:%FT%TZ}` lies after the home's present; choose an earlier one, or --dry-run")
    else:
        with (
            _showing(progress) as show,
            open_ledger(home) as ledger,
            held_for_run(engine, ledger, campaigns, at, folder.name),
            _driver(home, on) as deciding,
        ):
            ensure_seeded(home, ledger, engine, _seeding(show))
            made = make_plan(engine, ledger, campaigns, at, show, deciding)
            if sendable:
                check_sendable(made, ledger.now_micros())
            _check_volume(home, ledger, made, confirm, operator)
            boot(engine, ledger, operator)
            made = reserve_plan(replace(made, notes=(*made.notes, *_unapproved(made, ledger, by_itself))), ledger, show)
            folder = write_list(made, home.lists)
            enter_manifest(ledger, folder, operator)
            _publish(ledger, made.run, at, folder)
    counted = funnel(made.decisions)
    return PlanAnswer(run=made.run, as_of=at, path=None if dry_run else str(folder), dry_run=dry_run, contacts=counted.chosen, lost=len(made.lost),
                      funnel=counted, certificate=certificate(made), assumptions=made.assumptions, degraded=made.inputs.degraded,
                      problems=made.inputs.problems)  # fmt: skip


def _unapproved(made: Plan, ledger: Ledger, by_itself: bool) -> tuple[Line, ...]:
    """What the list says of campaigns that nobody approved; a run that nobody started is refused instead."""
    with ledger.read() as connection:
        now = ledger.now_micros()
        refused = live_campaigns(connection, now).refused if by_itself else {}
        if why := next((refused[name] for name in made.campaigns if name in refused), None):
            raise PlanError(why)
        return unapproved(connection, now, made.campaigns)


@contextmanager
def _driver(home: Home, on: Engines | None) -> Generator[DecideAll]:
    """The driver of an engine; Spark is started for the block alone."""
    if (on or home.settings.engine) == "polars":
        yield decide_all
        return
    from serving.spark.plan import deciding_on
    from serving.spark.session import session

    with session() as spark:
        yield deciding_on(spark)


def _publish(ledger: Ledger, run: str, at: datetime, folder: Path) -> None:
    """The list's seat prices become the service's bid prices."""
    issued = Certificate.model_validate_json((folder / "certificate.json").read_bytes())
    ledger.write(lambda connection: publish(connection, run, at, issued), touches=PRICES).result()


def draft_engine(home: Home) -> Engine:
    """The engine of the home's files as they stand; says on stderr which of them are not in force."""
    engine = Engine.open(home)
    with reading_ledger(home) as ledger, ledger.read() as connection:
        names = drafts(engine, connection, ledger.now_micros())
    if names:
        print(f"note: with drafts that are not in force: {', '.join(names)}; nbo rules propose", file=sys.stderr)
    return engine


def _check_volume(home: Home, ledger: Ledger, made: Plan, confirm: bool, operator: str) -> None:
    found = volume(home.lists, made.campaigns, made.run, funnel(made.decisions).chosen)
    if not found.is_held:
        return
    if not confirm:
        found.refuse()
    ledger.write(lambda connection: enter(connection, Entered.VOLUME, made.run, operator, ledger.now_micros(),
                                          contacts=found.contacts, usual=found.usual), units=()).result()  # fmt: skip


def _operator() -> str:
    return f"operator {getpass.getuser()}"


def _seeding(show: Progress) -> Callable[[int, int], object]:
    return lambda done, of: show("contact history", done, of)


def limit_line(limit: LimitUse, currency: str) -> str:
    """How scarce one thing was. The price is what one unit more, or one asked for less, is worth to the list."""
    room = limit.at_most if limit.at_most is not None else limit.at_least or 0
    used, of = (f"{n:,}" if limit.unit == CONTACT else money(n, currency) for n in (limit.used, room))
    price = money(limit.price_milli / SCALE, currency) if limit.price_milli else ""
    if limit.at_least is not None:
        return f"  {limit.name}: {used} for at least {of}" + (f"; one less asked for is worth {price}" if price else "")
    return f"  {limit.name}: {used} of {of} used; one more is worth {price or 'nothing'}"


def plan_lines(answer: PlanAnswer, currency: str) -> list[str]:
    """The run in a few lines for people."""
    lines = [f"DEGRADED, everyone stays silent: {problem}" for problem in answer.problems]
    lines += [
        f"list: {answer.path or '(dry run, nothing written)'}",
        f"as of {answer.as_of:%Y-%m-%d %H:%M} UTC, the home's clock",
        f"customers {answer.funnel.customers:>12,}",
    ]
    lines += [f"  after {layer:<12} {count:>8,}" for layer, count in answer.funnel.after.items()]
    lines += [
        f"chosen {answer.funnel.chosen:>15,}    held out {answer.funnel.holdout:,}    lost to a race {answer.lost:,}",
        "silent because:",
    ]
    lines += [
        f"  {slug:<26} {count:>8,}  (met by {answer.funnel.met[slug]:,})"
        for slug, count in answer.funnel.decisive.items()
    ]
    issued = answer.certificate
    if not answer.funnel.chosen:
        last = next(layer for layer, count in answer.funnel.after.items() if not count)
        lines.append(f"the list is empty: nobody was left after {last}")
    if answer.funnel.chosen or issued.bound_minor:
        value, bound = (money(minor, currency) for minor in (issued.value_minor, issued.bound_minor))
        lines.append(f"value {value}, proven bound {bound}, gap {issued.gap_share:.3%}")
    if (exploring := issued.bound_minor - issued.drawn_bound_minor) > 0:
        lines.append(f"  of the gap, exploring costs at most {money(exploring, currency)}")
    lines += [
        limit_line(limit, currency) for limit in sorted(issued.limits, key=lambda one: -one.price_milli)[:LIMITS_TOLD]
    ]
    if len(issued.limits) > LIMITS_TOLD:
        lines.append(f"  and {len(issued.limits) - LIMITS_TOLD:,} limits more: certificate.json")
    lines += [line.en for line in issued.short()]
    return [*lines, *(f"assumption: {line}" for line in answer.assumptions)]


def _showing(progress: Progress | None) -> AbstractContextManager[Progress]:
    return bars() if progress is None else nullcontext(progress)


@contextmanager
def bars() -> Generator[Progress]:
    """Progress bars on stderr, one per stage."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        tasks: dict[str, object] = {}

        def show(stage: str, done: int, of: int) -> None:
            task = tasks.setdefault(stage, shown.add_task(stage, total=of)) if stage not in tasks else tasks[stage]
            shown.update(task, completed=done, total=of)  # pyright: ignore[reportArgumentType]  # a TaskID

        yield show


def _written(folder: Path) -> PlanAnswer:
    manifest = read_manifest(folder)
    issued = Certificate.model_validate_json((folder / "certificate.json").read_bytes())
    return PlanAnswer(run=manifest.run, as_of=manifest.as_of, path=str(folder), dry_run=False, contacts=manifest.funnel.chosen, lost=manifest.lost,
                      funnel=manifest.funnel, certificate=issued, assumptions=manifest.assumptions, degraded=manifest.degraded,
                      problems=manifest.problems)  # fmt: skip
