"""`nbo plan` says what an operator has to know of the list he makes, and refuses what nobody could send."""

import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection
from typer.testing import CliRunner, Result

import nbo
from features.commands import parse_instant
from features.home import Home
from rules.review import Actor
from serving.changes.desk import Desk
from serving.changes.live import open_engine
from serving.commands import lists as room
from serving.commands.lists import make_list
from serving.ledger import changes
from serving.lists.files import read_manifest
from serving.lists.limits import COST
from serving.lists.overdue import OverdueError
from serving.office import open_ledger
from tests.home import NOW, adopt

ROOT = Path(__file__).parents[3]


def plan(bank: Path, *more: str) -> Result:
    return CliRunner().invoke(nbo.app, ["--home", str(bank), "plan", *more])


def approve_first(bank: Path) -> None:
    """A second person approves what stands in force."""
    home = Home.open(bank)
    with open_ledger(home) as ledger:
        engine = open_engine(home, ledger)

        def task(connection: Connection) -> None:
            desk = Desk(engine, connection, ledger.secret, ledger.now_micros())
            desk.approve(Actor("bob", "compliance"), "first", desk.shown("first").revision)

        ledger.write(task, touches=changes.CHANGES).result()


def test_a_list_of_a_campaign_that_nobody_approved_says_so_and_keeps_saying_it(bank: Path) -> None:
    line = ("campaign `dollars` as it is in force was approved by nobody: this run was started by hand, the scheduler would not"
            " make it; nbo rules list, then nbo rules approve")  # fmt: skip
    first = make_list(Home.open(bank), ["dollars"], NOW - timedelta(minutes=1))
    folder = Path(str(first.path))
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert line in first.assumptions and line in read_manifest(folder).assumptions
    assert f"assumption: {line}" in room.plan_lines(first, "CNY")
    assert line in (folder / "report.html").read_text("utf-8")
    approve_first(bank)
    assert make_list(Home.open(bank), ["dollars"], NOW - timedelta(minutes=1)) == first
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == whole
    assert not any("approved by nobody" in said for said in make_list(Home.open(bank), ["dollars"], NOW).assumptions)


def test_a_list_whose_sending_hours_are_over_is_not_reserved(bank: Path) -> None:
    home = Home.open(bank).move_clock(NOW + timedelta(hours=30))
    with pytest.raises(OverdueError) as refused:  # the last customers live in New York
        make_list(home, ["dollars"], NOW, sendable=True)
    assert str(refused.value) == (
        "as-of `2026-06-01T02:00:00Z` is too long ago: the list's last sending hours ended at 2026-06-01T23:00:00Z, now it is"
        " 2026-06-02T08:00:00Z; nothing is reserved. Look at it with --dry-run, or choose a later --as-of"
    )
    assert not home.lists.exists() or not list(home.lists.iterdir())
    made = plan(bank, "dollars", "--as-of", "2026-06-01T02:00:00Z")
    assert isinstance(made.exception, OverdueError) and "nothing is reserved" in str(made.exception)  # nbo.main: exit 2
    assert plan(bank, "dollars", "--as-of", "2026-06-01T02:00:00Z", "--dry-run").exit_code == 0
    make_list(home, ["dollars"], NOW)  # a scheduler that was begun in time may go on
    assert plan(bank, "dollars", "--as-of", "2026-06-01T02:00:00Z").exit_code == 0  # written, it is read back


def test_a_written_run_is_read_back_though_its_campaign_has_left_the_set(bank: Path) -> None:
    made = make_list(Home.open(bank), ["dollars"], NOW)
    (bank / "campaigns" / "dollars.yaml").unlink()
    adopt(bank)
    assert make_list(Home.open(bank), ["dollars"], NOW) == made


def test_an_empty_list_says_that_nobody_was_left(bank: Path) -> None:
    path = bank / "campaigns" / "dollars.yaml"
    path.write_text("audience: age_years > 200\n" + path.read_text("utf-8"), "utf-8")
    lines = room.plan_lines(make_list(Home.open(bank), ["dollars"], NOW, dry_run=True), "CNY")
    assert "the list is empty: nobody was left after campaign" in lines
    assert not any("gap" in line for line in lines)


def test_a_campaign_that_is_a_draft_is_called_one(bank: Path) -> None:
    adopt(bank)
    text = (bank / "campaigns" / "dollars.yaml").read_text("utf-8")
    file = bank / "campaigns" / "mine.yaml"
    for said in (text.replace("id: dollars", "id: mine"), "id: ["):
        file.write_text(said, "utf-8")
        assert str(plan(bank, "mine").exception) == (
            f"campaign `mine` is a draft: `{file}` is not in force; hand it in with nbo rules propose"
        )


def test_the_airflow_recipe_gives_the_command_one_instant(bank: Path) -> None:
    """As Airflow renders it: `ts` is ISO 8601, the bare instant of Pendulum 3 has a space."""
    [recipe] = re.findall(r"`(nbo plan all_year --as-of .*?)`", (ROOT / "docs" / "lists.md").read_text("utf-8"))
    assert "{{ data_interval_end | ts }}" in recipe
    words = shlex.split(recipe.replace("{{ data_interval_end | ts }}", "2026-06-01T02:00:00+00:00"))
    assert words[:4] == ["nbo", "plan", "all_year", "--as-of"] and parse_instant(*words[4:], Home.open(bank)) == NOW


@pytest.mark.parametrize(("currency", "scale", "digits"), [("CNY", 100, 2), ("JPY", 1, 0), ("KWD", 1000, 3)])
def test_the_command_tells_money_in_the_units_of_the_banks_currency(bank: Path, currency: str, scale: int, digits: int) -> None:  # fmt: skip
    """The list's value, bound and prices, and a budget's use. Mutant: hundredths of everything."""
    path = bank / "campaigns" / "dollars.yaml"
    path.write_text("budget_minor: 900\n" + path.read_text("utf-8"), "utf-8")
    answer = make_list(Home.open(bank), ["dollars"], NOW, dry_run=True)
    lines = room.plan_lines(answer, currency)
    told = lambda minor: f"{minor / scale:,.{digits}f} {currency}"
    issued = answer.certificate
    assert any(line.startswith(f"value {told(issued.value_minor)}, proven bound {told(issued.bound_minor)}, gap") for line in lines)  # fmt: skip
    [budget] = [limit for limit in issued.limits if limit.unit == COST]
    assert budget.price_milli > 0
    assert f"  {budget.name}: {told(budget.used)} of {told(900)} used; one more is worth {told(budget.price_milli / 1000)}" in lines  # fmt: skip
