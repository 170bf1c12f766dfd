"""The scheduler makes each list once: through restarts, beside a second one, and killed at any step."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy.engine import Connection
from typer.testing import CliRunner

import nbo
from features.home import Home
from features.settings import write_settings
from rules.liveset import files_in
from rules.review import Act, Actor, Kind
from serving import scheduler
from serving.changes.approved import LiveCampaigns
from serving.changes.desk import Desk
from serving.changes.live import open_engine
from serving.commands import schedule as room
from serving.commands.lists import PlanError, make_list
from serving.ledger import changes
from serving.ledger.book import Ledger
from serving.ledger.journal import Entered, entries
from serving.lists.plan import make_plan, reserve_plan, run_name
from serving.lists.volume import volume
from serving.office import open_ledger
from serving.scheduler import RunError, run_due
from serving.standing import Run
from tests.home import NOW, adopt, copied

ROOT = Path(__file__).parents[2]
HOUR = timedelta(hours=1)
CAMPAIGNS = ("all_year", "dollars")


def scheduled(path: Path, cron: str = "0 * * * *", missed: str = "last", approved: tuple[str, ...] = CAMPAIGNS) -> Home:
    """The home with its campaigns on that schedule, at twenty past ten; without seats of their own they share a run."""
    for name in CAMPAIGNS:
        file = path / "campaigns" / f"{name}.yaml"
        text = file.read_text("utf-8")
        text = text[: text.index("seats:")] + f"schedule: {{cron: '{cron}', holidays: run, missed: {missed}}}\n"
        file.write_text(
            text + "approved_by: the board\n", "utf-8"
        )  # the file says so of itself, and it lets nothing run
    adopt(path)
    approve(path, approved)
    return Home.open(path).move_clock(NOW + timedelta(minutes=20))


def approve(path: Path, campaigns: tuple[str, ...], live: dict[str, str] | None = None) -> None:
    """A change that brought these campaigns as they stand, proposed by one and approved by another, past the desk."""
    files, names = files_in(path), {f"campaigns/{name}.yaml" for name in campaigns}
    with open_ledger(Home.open(path)) as ledger:

        def task(connection: Connection) -> None:
            now = ledger.now_micros()
            base = changes.keep_set(connection, {name: text for name, text in files.items() if name not in names})
            target, held = changes.keep_set(connection, files), changes.keep_set(connection, live or files)
            for act, who, more in ((Act.PROPOSE, "mia", {}), (Act.CHECK, "checker", {"passed": True}), (Act.APPROVE, "max", {}),
                                   (Act.ACTIVATE, "mia", {"effective_at": now})):  # fmt: skip
                shown = held if act is Act.ACTIVATE else target
                changes.append(connection, ledger.secret, change_id="c-campaigns", act=act, actor=Actor(who, "marketing"), kinds=[Kind.CAMPAIGNS],
                               base=base, target=shown, at=now, **more)  # fmt: skip

        if names:
            ledger.write(task, touches=changes.CHANGES).result()


@pytest.fixture
def home(bank: Path) -> Home:
    return scheduled(bank)


@pytest.fixture
def ledger(home: Home) -> Generator[Ledger]:
    with open_ledger(home) as opened:
        opened._clock._clock = lambda: Home.open(home.path).now()
        yield opened


class Told(NamedTuple):
    """What is asked of a list that was made."""

    run: str = ""
    contacts: int = 7
    degraded: bool = False
    problems: tuple[str, ...] = ()


class Maker:
    """Stands in for the making of a list; fails as often as told."""

    def __init__(self, failing: int = 0) -> None:
        self.made: list[tuple[tuple[str, ...], datetime]] = []
        self.failing = failing

    def __call__(self, home: Home, campaigns: list[str], at: datetime, **how: bool) -> Told:
        if self.failing:
            self.failing -= 1
            raise OSError("the disk is full")
        self.made.append((tuple(campaigns), at))
        return Told(run_name(campaigns, at))


def look(path: Path, ledger: Ledger, maker: Maker, on: timedelta | None = None) -> list[datetime]:
    """Move the clock on, make what is due; the dues that were made."""
    home = Home.open(path)
    home = home.move_clock(home.now() + on) if on else home
    found = []
    while (run := run_due(home, ledger, maker)) is not None:
        found.append(run.due)
        home = home.move_clock(home.now() + timedelta(seconds=1))
    return found


def states(ledger: Ledger, name: str = "all_year") -> list[str]:
    with ledger.read() as connection:
        return [entry.body["state"] for entry in entries(connection, Entered.SCHEDULE, name)]


def test_what_fell_due_before_anybody_looked_is_not_made(home: Home, ledger: Ledger) -> None:
    maker = Maker()
    assert look(home.path, ledger, maker) == [] and states(ledger) == ["watched"]
    assert look(home.path, ledger, maker, HOUR) == [NOW + HOUR]
    assert maker.made == [(CAMPAIGNS, NOW + HOUR + timedelta(minutes=20))]  # both compete in one run
    assert look(home.path, ledger, maker) == []
    assert states(ledger) == ["watched", "begun", "done"]


@pytest.mark.parametrize(("missed", "made", "passed"), [("last", [3], 2), ("all", [1, 2, 3], 0), ("none", [], 3)])
def test_three_missed_runs_follow_the_rule(bank: Path, missed: str, made: list[int], passed: int) -> None:
    path, maker = scheduled(bank, missed=missed).path, Maker()
    with open_ledger(Home.open(path)) as ledger:
        ledger._clock._clock = lambda: Home.open(path).now()
        look(path, ledger, maker)
        # The same again is nothing: it is settled, by whoever looks.
        assert look(path, ledger, maker, 3 * HOUR) == [NOW + n * HOUR for n in made]
        assert look(path, ledger, maker) == []
        with ledger.read() as connection:
            skipped = [e.body["skipped"] for e in entries(connection, Entered.SCHEDULE, "dollars") if e.body["state"] == "skipped"]  # fmt: skip
    assert sum(map(len, skipped)) == passed


def test_p24_an_unapproved_campaign_never_runs_by_itself(bank: Path) -> None:
    home, maker = scheduled(bank, approved=("dollars",)), Maker()
    with open_ledger(home) as ledger:
        ledger._clock._clock = lambda: Home.open(home.path).now()
        look(home.path, ledger, maker)
        look(home.path, ledger, maker, HOUR)
    assert [names for names, _ in maker.made] == [("dollars",)]


def test_p24_mutant_a_scheduler_that_asks_for_no_approval_is_caught(
    bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, maker = scheduled(bank, approved=("dollars",)), Maker()
    monkeypatch.setattr(LiveCampaigns, "runnable", property(lambda self: self.campaigns))
    with open_ledger(home) as ledger:
        ledger._clock._clock = lambda: Home.open(home.path).now()
        look(home.path, ledger, maker)
        look(home.path, ledger, maker, HOUR)
    assert [names for names, _ in maker.made] == [CAMPAIGNS]


def once(path: Path) -> tuple[list[str], str]:
    """(campaigns that ran, what stderr says) of `nbo schedule run --once` an hour later."""
    Home.open(path).move_clock(Home.open(path).now() + HOUR)
    answer = CliRunner().invoke(nbo.app, ["--home", str(path), "schedule", "run", "--once", "--json"])
    return [one["campaign"] for one in json.loads(answer.stdout)["runs"]], answer.stderr


def test_p24_the_files_of_a_new_bank_wait_for_a_second_person(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look puts them into force, unapproved; approved, they run; and a draft changes nothing."""
    monkeypatch.setattr(room, "make_list", Maker())
    line = "campaign `all_year` is not run: nobody has approved `campaigns/all_year.yaml`; nbo rules list, then nbo rules approve"
    for name in CAMPAIGNS:
        file = bank / "campaigns" / f"{name}.yaml"
        text = file.read_text("utf-8")
        file.write_text(text[: text.index("schedule:")] + "schedule: {cron: '0 * * * *'}\n", "utf-8")
    for _ in range(2):
        ran, said = once(bank)
        assert ran == [] and line in said.splitlines()
    with open_ledger(Home.open(bank)) as ledger:
        engine = open_engine(Home.open(bank), ledger)

        def task(connection: Connection) -> None:
            desk = Desk(engine, connection, ledger.secret, ledger.now_micros())
            desk.approve(Actor("bob", "compliance"), "first", desk.shown("first").revision)

        ledger.write(task, touches=changes.CHANGES).result()
    once(bank)  # looked at for the first time
    assert once(bank)[0] == list(CAMPAIGNS)
    (bank / "campaigns" / "dollars.yaml").write_text("id: [", "utf-8")
    ran, said = once(bank)
    assert ran == list(CAMPAIGNS) and "not run" not in said


def test_p24_what_is_in_force_and_is_not_what_was_approved_is_not_run(bank: Path) -> None:
    """One letter more than what the second person saw, put into force past the desk."""
    path = scheduled(bank, approved=()).path
    name = "campaigns/dollars.yaml"
    approve(path, CAMPAIGNS, live=files_in(path) | {name: files_in(path)[name] + "\n"})
    maker = Maker()
    with open_ledger(Home.open(path)) as ledger:
        ledger._clock._clock = lambda: Home.open(path).now()
        look(path, ledger, maker)
        look(path, ledger, maker, HOUR)
    assert [names for names, _ in maker.made] == [("all_year",)]
    shown = CliRunner().invoke(nbo.app, ["--home", str(path), "schedule", "next"])
    assert (
        f"campaign `dollars` is not run: `{name}` as it is in force is not what was approved; propose it again"
        in shown.stderr
    )


def test_p24_what_was_begun_and_then_rolled_back_to_what_nobody_approved_is_given_up(bank: Path) -> None:
    """What it had reserved is recalled; approved again, it counts as missed. Mutant: without the look at what may run it is made."""
    home = scheduled(bank)
    with open_ledger(home) as ledger:
        ledger._clock._clock = lambda: Home.open(home.path).now()
        look(home.path, ledger, Maker())
        home = home.move_clock(NOW + HOUR)

        def reserve_and_fail(home: Home, campaigns: list[str], at: datetime) -> Told:
            engine = open_engine(home, ledger)
            reserve_plan(make_plan(engine, ledger, campaigns, at), ledger)
            raise OSError("the disk is full")

        with pytest.raises(RunError, match="disk"):
            run_due(home, ledger, reserve_and_fail)
        assert reserved(bank) > 0
        file = bank / "campaigns" / "all_year.yaml"
        text = file.read_text("utf-8")
        file.write_text(text + "# as it was before anybody approved it\n", "utf-8")
        adopt(bank)
        maker = Maker()
        assert look(home.path, ledger, maker, timedelta(minutes=1)) == [NOW + HOUR] and reserved(bank) == 0
        assert [names for names, _ in maker.made] == [("dollars",)]
        assert states(ledger) == ["watched", "begun", "given_up"]
        with pytest.raises(PlanError, match="campaign `all_year` is not run: `campaigns/all_year"):
            make_list(Home.open(bank), ["all_year"], NOW + HOUR, by_itself=True)
        assert reserved(bank) == 0
        file.write_text(text, "utf-8")
        adopt(bank)
        assert look(home.path, ledger, maker, timedelta(minutes=1)) == [NOW + HOUR]
        assert maker.made[1][0] == ("all_year",)


def reserved(bank: Path) -> int:
    """How many contacts runs hold."""
    connection = sqlite3.connect(bank / "nbo.db")
    [(n,)] = connection.execute("SELECT count(*) FROM contacts WHERE decision_id LIKE '2026%' AND state = 'reserved'")
    connection.close()
    return n


def test_a_failure_is_taken_up_again_under_the_same_instant(home: Home, ledger: Ledger) -> None:
    maker = Maker(failing=2)
    look(home.path, ledger, maker)
    Home.open(home.path).move_clock(NOW + HOUR)
    for wait in range(2):
        with pytest.raises(RunError, match="disk"):
            look(home.path, ledger, maker, timedelta(minutes=wait))
    assert look(home.path, ledger, maker, timedelta(minutes=5)) == [NOW + HOUR]
    assert maker.made == [(CAMPAIGNS, NOW + HOUR)]  # not the instant of the third try
    assert states(ledger) == ["watched", "begun", "done"]


def test_what_was_begun_on_a_day_that_is_over_is_given_up_and_counts_as_missed(home: Home, ledger: Ledger) -> None:
    maker = Maker(failing=1)
    look(home.path, ledger, maker)
    with pytest.raises(RunError, match="disk"):
        look(home.path, ledger, maker, HOUR)
    tomorrow = look(home.path, ledger, maker, timedelta(days=1))
    assert tomorrow == [NOW + HOUR + timedelta(days=1)]
    assert states(ledger) == ["watched", "begun", "given_up", "skipped", "begun", "done"]


class Picky(Maker):
    """Makes no list of these campaigns."""

    def __init__(self, *refused: str) -> None:
        super().__init__()
        self.refused = refused

    def __call__(self, home: Home, campaigns: list[str], at: datetime, **how: bool) -> Told:
        if set(campaigns) & set(self.refused):
            raise ValueError("the list has 900 contacts,\nusual are 100")
        return super().__call__(home, campaigns, at)


def apart(bank: Path) -> Path:
    """Two campaigns on one schedule that share no run: a third of one's customers is held out."""
    file = bank / "campaigns" / "all_year.yaml"
    file.write_text("holdout_share: 0.3\n" + file.read_text("utf-8"), "utf-8")
    return scheduled(bank).path


def test_a_run_that_cannot_be_made_keeps_no_other_from_being_made(bank: Path) -> None:
    """Today and tomorrow; it is tried at each look, and told once a look."""
    path, maker = apart(bank), Picky("all_year")
    with open_ledger(Home.open(path)) as ledger:
        ledger._clock._clock = lambda: Home.open(path).now()
        look(path, ledger, maker)
        for hours in (1, 1, 24):
            home = Home.open(path)
            home = home.move_clock(home.now() + hours * HOUR)
            waits, made = list(scheduler.look(home, ledger, maker))
            assert isinstance(waits, RunError) and isinstance(made, Run) and made.campaigns == ("dollars",)
            day = "2026-06-01" if hours == 1 else "2026-06-02"
            assert str(waits).startswith("all_year: not made as of ") and f", due {day}T" in str(waits)
            assert str(waits).endswith("Z: the list has 900 contacts, usual are 100")
        assert list(scheduler.look(home, ledger, maker, [waits.run])) == []  # left alone: it rests
        assert states(ledger) == ["watched", "begun", "given_up", "skipped", "begun"]
        assert states(ledger, "dollars") == ["watched", *["begun", "done"] * 2, "skipped", "begun", "done"]
        [made] = scheduler.look(home, ledger, Maker())
        assert isinstance(made, Run) and made == waits.run


def test_a_fault_of_any_kind_in_one_list_is_told_and_the_others_are_made(bank: Path) -> None:
    path = apart(bank)

    def faulty(home: Home, campaigns: list[str], at: datetime) -> Told:
        if "all_year" in campaigns:
            raise KeyError("branch")
        return Told()

    with open_ledger(Home.open(path)) as ledger:
        ledger._clock._clock = lambda: Home.open(path).now()
        look(path, ledger, Maker())
        waits, made = scheduler.look(Home.open(path).move_clock(NOW + HOUR), ledger, faulty)
    assert str(waits).endswith("Z: KeyError: 'branch'") and isinstance(made, Run)


def test_once_makes_all_it_can_and_says_no_for_what_waits(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = apart(bank)
    monkeypatch.setattr(room, "make_list", Picky("all_year"))
    once(path)
    Home.open(path).move_clock(Home.open(path).now() + HOUR)
    words = ["--home", str(path), "schedule", "run", "--once", "--json"]
    answer = CliRunner().invoke(nbo.app, words, standalone_mode=False)
    told = json.loads(answer.stdout)
    assert answer.return_value == 1 and [one["campaign"] for one in told["runs"]] == ["dollars"]
    [line] = told["failed"]
    assert line.startswith("all_year: not made") and answer.stderr.splitlines() == [f"error: {line}"]


def once_said(path: Path, minutes: int = 1) -> tuple[dict[str, Any], list[str], int]:
    """(answer, stderr, exit code) of `nbo schedule run --once` some minutes later."""
    Home.open(path).move_clock(Home.open(path).now() + timedelta(minutes=minutes))
    words = ["--home", str(path), "schedule", "run", "--once", "--json"]
    answer = CliRunner().invoke(nbo.app, words, standalone_mode=False)
    return json.loads(answer.stdout), answer.stderr.splitlines(), answer.return_value


def test_p07_a_degraded_list_is_said_and_is_made_anew_when_the_data_are_back(bank: Path) -> None:
    """Made once, silent; not done, and not usual; then, as of then, once."""
    path = scheduled(bank, approved=("dollars",)).path
    settings = Home.open(path).settings
    assert once_said(path)[2] == 0  # looked at for the first time
    write_settings(path / "bank.yaml", settings.model_copy(update={"now": NOW, "snapshot_max_age_hours": 1}))
    told, said, code = once_said(path, 60)
    [run] = told["runs"]
    why = "the newest snapshot is of 2026-06-01T00:00:00Z, older than 1:00:00; nbo features build"
    assert (code, run["state"], run["degraded"], run["contacts"], run["problems"]) == (1, "degraded", True, 0, [why])
    assert f"dollars: DEGRADED, everyone stays silent: {why}; made anew when this is mended" in said
    told, said, code = once_said(path)  # no second silent list
    line = f"dollars: its last list was degraded; it is made anew when this is mended: {why}"
    assert (code, told["runs"], told["silent"]) == (1, [], [line]) and line in said
    assert volume(path / "lists", ("dollars",), "9", 500).usual is None
    now = Home.open(path).now()
    write_settings(path / "bank.yaml", settings.model_copy(update={"now": now}))
    told, _, code = once_said(path)
    [again] = told["runs"]
    assert (code, again["state"], again["degraded"], again["due_at"]) == (0, "done", False, run["due_at"])
    assert again["contacts"] > 0 and again["run"] > run["run"] and told["silent"] == []
    assert once_said(path)[0]["runs"] == []
    with open_ledger(Home.open(path)) as ledger:
        assert states(ledger, "dollars") == ["watched", "begun", "degraded", "begun", "done"]


def test_a_run_whose_second_is_taken_by_another_list_is_said_and_made_a_second_later(bank: Path) -> None:
    path, maker = scheduled(bank).path, Maker()
    with open_ledger(Home.open(path)) as ledger:
        ledger._clock._clock = lambda: Home.open(path).now()
        look(path, ledger, maker)
        home = Home.open(path).move_clock(NOW + HOUR)
        taken = Run(NOW + HOUR, NOW + HOUR, CAMPAIGNS)
        (home.lists / taken.name).mkdir(parents=True)
        [waits] = scheduler.look(home, ledger, maker)
        assert isinstance(waits, RunError) and waits.run == taken and maker.made == []
        assert str(waits).endswith("a list of this second stands already; it is made a second later, or when a simulated clock has moved on")  # fmt: skip
        assert states(ledger) == ["watched"]
        assert look(path, ledger, maker, timedelta(seconds=1)) == [NOW + HOUR]


def test_campaigns_due_at_one_instant_that_share_no_run_are_made_one_by_one_through_a_crash(bank: Path) -> None:
    path, maker = apart(bank), Maker()
    with open_ledger(Home.open(path)) as ledger:
        ledger._clock._clock = lambda: Home.open(path).now()
        look(path, ledger, maker)
        home = Home.open(path).move_clock(NOW + HOUR)
        first = run_due(home, ledger, maker)  # and here the process dies
        home = home.move_clock(NOW + HOUR + timedelta(minutes=1))
        assert first and list(scheduler.look(home, ledger, maker)) == [
            replace(first, at=home.now(), campaigns=("dollars",))
        ]
        assert list(scheduler.look(home, ledger, maker)) == []
        assert states(ledger) == states(ledger, "dollars") == ["watched", "begun", "done"]
    assert maker.made == [(("all_year",), NOW + HOUR), (("dollars",), home.now())]


def test_one_whose_wording_has_expired_is_alone_and_the_others_of_its_instant_are_made(bank: Path) -> None:
    file = bank / "campaigns" / "dollars.yaml"
    wording = (
        "{id: wealth_usd_sms_1, legal_footer: R., approved_by: lin, approved_on: 2026-01-01, expires_on: 2026-05-31}"
    )
    file.write_text(f"treatments: [{wording}]\n" + file.read_text("utf-8"), "utf-8")
    path, maker = scheduled(bank).path, Maker()
    with open_ledger(Home.open(path)) as ledger:
        ledger._clock._clock = lambda: Home.open(path).now()
        look(path, ledger, maker)
        look(path, ledger, maker, HOUR)
    assert [names for names, _ in maker.made] == [("all_year",), ("dollars",)]


def test_next_says_when_and_what_will_not_run(bank: Path) -> None:
    scheduled(bank, cron="0 8 * * 1-5", approved=("dollars",))
    answer = CliRunner().invoke(nbo.app, ["--home", str(bank), "schedule", "next", "--runs", "2", "--json"])
    assert [(one["due_at"], one["campaign"], one["state"]) for one in json.loads(answer.stdout)["runs"]] == [
        (f"2026-06-0{day}T00:00:00Z", name, state) for day in (2, 3) for name, state in (("all_year", "unapproved"), ("dollars", "due"))]  # fmt: skip
    shown = CliRunner().invoke(nbo.app, ["--home", str(bank), "schedule", "next"]).stdout
    assert "NOT APPROVED" in shown.splitlines()[0] and "NOT" not in shown.splitlines()[1]


# ---- killed ------------------------------------------------------------------------------------------


def ready(path: Path) -> Path:
    """A home whose run is due in this moment."""
    home = scheduled(path)
    with open_ledger(home) as ledger:
        run_due(home, ledger, Maker())
    home.move_clock(NOW + HOUR)
    return path


Child = Callable[[Path, int], int | None]


@pytest.fixture
def child() -> Generator[Child]:
    """The scheduler in a process of its own that dies at its n-th statement or file; its steps, null: it died."""
    command = [sys.executable, "-m", "tests.serving.fused"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdin and server.stdout
        asked, told = server.stdin, server.stdout

        def run(path: Path, fuse_at: int) -> int | None:
            asked.write(f"{fuse_at} {path}\n")
            asked.flush()
            word, number = told.readline().split()
            assert (word, number) == ("ended", f"{-signal.SIGKILL}") or word == "done", (word, number)
            return int(number) if word == "done" else None

        yield run
        asked.close()


def taken_up(path: Path) -> None:
    """The scheduler again, here, as long as it finds something to do."""
    home = Home.open(path)
    with open_ledger(home) as ledger:
        while run_due(home, ledger, make_list) is not None:
            pass


def result(path: Path) -> tuple[dict[str, bytes], list[tuple[str, ...]]]:
    """(the files of the one list, the contacts it reserved)."""
    (folder,) = (one for one in (path / "lists").iterdir() if not one.name.startswith("."))
    connection = sqlite3.connect(path / "nbo.db")
    with connection:
        found = connection.execute(
            "SELECT contact_id, customer_id, state FROM contacts WHERE decision_id = ? ORDER BY 1", (folder.name,)
        ).fetchall()
    connection.close()
    return {file.name: file.read_bytes() for file in folder.iterdir()}, found


def killed_at(
    tmp_path: Path, child: Child, places: Iterable[int], whole: tuple[dict[str, bytes], list[tuple[str, ...]]]
) -> None:
    for place in places:
        path = ready(copied(tmp_path / f"at-{place}"))
        assert child(path, place) is None, place
        taken_up(path)
        assert result(path) == whole, place
        states = Counter(json.loads(body)["state"] for body in bodies(path))
        assert states == {"watched": 2, "begun": 2, "done": 2}, place
        shutil.rmtree(path)


def bodies(path: Path) -> list[str]:
    connection = sqlite3.connect(path / "nbo.db")
    found = [body for (body,) in connection.execute("SELECT body FROM journal WHERE kind = 'schedule'")]
    connection.close()
    return found


def undisturbed(tmp_path: Path, child: Child) -> tuple[tuple[dict[str, bytes], list[tuple[str, ...]]], int]:
    """What the run gives when nobody kills it, and how many steps it has."""
    path = ready(copied(tmp_path / "whole"))
    steps = child(path, 10**9)
    assert steps is not None
    return result(path), steps


def test_p02_a_scheduled_list_killed_at_any_step_comes_out_once(tmp_path: Path, child: Child) -> None:
    whole, steps = undisturbed(tmp_path, child)
    assert len(whole[1]) > 100 and len({row[1] for row in whole[1]}) == len(whole[1])
    killed_at(tmp_path, child, [steps // 2, steps - 3], whole)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("half", [1, 2])
def test_p02_long_a_scheduled_list_killed_at_every_step_comes_out_once(tmp_path: Path, child: Child, half: int) -> None:
    whole, steps = undisturbed(tmp_path, child)
    killed_at(tmp_path, child, range(half, steps + 1, 2), whole)


def test_p02_mutant_a_fresh_instant_after_the_kill_would_make_another_list(
    home: Home, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scheduler._opened

    def fresh(home: Home, connection: Connection, now: datetime, micros_now: int, but: Collection[Run]) -> Run | None:
        run = whole(home, connection, now, micros_now, but)
        return run and replace(run, at=now)

    monkeypatch.setattr(scheduler, "_opened", fresh)
    maker = Maker(failing=1)
    look(home.path, ledger, maker)
    with pytest.raises(RunError, match="disk"):
        look(home.path, ledger, maker, HOUR)
    run = run_due(Home.open(home.path).move_clock(NOW + 2 * HOUR), ledger, maker)
    assert run and run.at != NOW + HOUR + timedelta(minutes=20)  # what test_a_failure_... and the kills would catch


def test_two_processes_that_make_the_same_list_at_once_make_it_once(bank: Path) -> None:
    home = scheduled(bank)
    code = (
        "import sys; from datetime import datetime; from pathlib import Path; from features.home import Home\n"
        "from serving.commands.lists import make_list\n"
        "make_list(Home.open(Path(sys.argv[1])), ['all_year'], datetime.fromisoformat(sys.argv[2]))"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, home.path, NOW.astimezone(UTC).isoformat()], stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    told = [one.communicate()[1].decode() for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    files, contacts = result(bank)
    offers = files["offers.csv"].decode().splitlines()
    assert len(offers) - 1 == len(contacts) == len({row[1] for row in contacts})
    assert {row[2] for row in contacts} == {"reserved"}
