"""P14: a trigger causes a contact through the same gate as every other, once per occasion."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from features.home import Home
from rules.errors import PolicyError
from serving.causing import near_maturity, run_maturities
from serving.commands.triggers import RunAnswer, ShowAnswer, triggers_app
from serving.http.messages import EventResponse
from serving.ledger import switches
from serving.ledger.book import NOTHING
from serving.office import Office, open_ledger
from serving.triggers import FILE
from tests.home import CHANNELS, HERO, Clock, ask, call, copied, move, office_at, rows, said

RUN = CliRunner().invoke
MATURING = (
    'triggers:\n  - {id: maturity_near, title: {en: "It matures soon.", zh: 即将到期。}, maturity_within_days: 60}\n'
)
EXAMPLE = Path(__file__).parents[2] / "examples" / FILE


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A home with the example's triggers."""
    home = copied(tmp_path / "bank")
    shutil.copy(EXAMPLE, home / FILE)
    return home


def dollars_in(office: Office, clock: Clock, amount: int = 600_000, name: str | None = None,
               ago: timedelta = timedelta(0)) -> EventResponse:  # fmt: skip
    return move(office, "cash_deposit", amount, 1_800_000, clock.now - ago, name=name)


def test_money_in_causes_a_contact_that_is_due_like_any_other(office: Office, clock: Clock) -> None:
    told = dollars_in(office, clock)
    assert told.caused is not None
    record = office.decision(told.caused, call())
    assert record.result.offer_id is not None
    [(state, customer)] = rows(office, "SELECT state, customer_id FROM contacts WHERE decision_id = ?", told.caused)
    assert (state, customer) == ("reserved", HERO)


def test_less_money_causes_nothing(office: Office, clock: Clock) -> None:
    assert dollars_in(office, clock, 499_999).caused is None


def test_the_same_event_told_again_causes_nothing_more(office: Office, clock: Clock) -> None:
    assert dollars_in(office, clock, name="e1").caused is not None
    assert dollars_in(office, clock, name="e1").caused is None
    assert rows(office, "SELECT count(*) FROM decisions")[0][0] == 1


@pytest.mark.parametrize(("days", "ago", "causes"), [
    (None, timedelta(days=2), True),
    (None, timedelta(days=2, seconds=1), False),
    (None, timedelta(days=730), False),
    (1, timedelta(days=1, seconds=1), False),
    (5, timedelta(days=5), True),
])  # fmt: skip
def test_a_booking_told_late_is_stored_and_causes_nothing(
    bank: Path, clock: Clock, days: int | None, ago: timedelta, causes: bool
) -> None:
    """A broker's backlog is history: else a salary of two years ago would call today."""
    file = bank / FILE
    text = file.read_text("utf-8").replace("    currency: USD\n", f"    currency: USD\n    within_days: {days}\n")
    if days is not None:
        file.write_text(text, "utf-8")
    office = office_at(bank, clock)
    told = dollars_in(office, clock, ago=ago)
    assert (told.new, told.caused is not None) == (True, causes)
    assert rows(office, "SELECT count(*) FROM decisions") == [(int(causes),)]
    office.close()


def test_p14_a_trigger_obeys_caps_and_opt_outs(office: Office, clock: Clock) -> None:
    """A trigger that went round the gate would reserve: it asks for it in the very situation a caller is refused."""
    assert ask(office).offer_id is not None  # the day's contact is spent
    capped = dollars_in(office, clock)
    assert capped.caused is not None
    assert "cap_household" in office.decision(capped.caused, call()).result.reasons
    office.consent(said(clock.now), call()).result(30)
    clock.forward(days=3)
    refused = dollars_in(office, clock)
    assert refused.caused is not None
    assert "opted_out" in office.decision(refused.caused, call()).result.reasons
    assert rows(office, "SELECT count(*) FROM contacts WHERE source = 'decision'")[0][0] == 1


def test_without_the_file_no_event_causes_anything(tmp_path: Path, clock: Clock) -> None:
    office = office_at(copied(tmp_path / "plain"), clock)
    assert dollars_in(office, clock).caused is None
    office.close()


def test_a_maturity_near_is_decided_once_for_each_who_has_one(office: Office, clock: Clock) -> None:
    snapshot = office.engine.snapshot(clock.now)
    assert snapshot is not None
    near = near_maturity(snapshot, 7)
    ahead = pl.from_arrow(snapshot.table.select(["customer_id", "maturity_ahead_days"]))
    assert isinstance(ahead, pl.DataFrame)
    assert {name for name, _ in near} == set(ahead.filter(pl.col("maturity_ahead_days") <= 7)["customer_id"])
    assert near, "nothing matures in this bank: the test shows nothing"
    assert run_maturities(office.engine, office.ledger) == ({"maturity_near": len(near)}, ())
    assert run_maturities(office.engine, office.ledger) == ({"maturity_near": 0}, ())
    assert rows(office, "SELECT count(*) FROM decisions")[0][0] == len(near)


def test_maturities_keep_to_the_seats_of_the_day(bank: Path) -> None:
    """Mutant: a run that hands over no seats."""
    (bank / "campaigns" / "dollars.yaml").unlink()
    file = bank / "campaigns" / "all_year.yaml"
    file.write_text(f"{file.read_text('utf-8')}per_day: {{{', '.join(f'{name}: 1' for name in CHANNELS)}}}\n", "utf-8")
    (bank / FILE).write_text(MATURING, "utf-8")
    office = office_at(bank, Clock())
    assert run_maturities(office.engine, office.ledger).made["maturity_near"] > 20
    taken = rows(office, "SELECT channel, count(*) FROM contacts WHERE source = 'decision' AND state = 'reserved' GROUP BY 1")  # fmt: skip
    assert taken and {n for _, n in taken} == {1}
    office.close()


def models_away(bank: Path) -> Callable[[], object]:
    (bank / "models").rename(bank / "away")
    return lambda: (shutil.rmtree(bank / "models", ignore_errors=True), (bank / "away").rename(bank / "models"))


def snapshots_away(bank: Path) -> Callable[[], object]:
    (bank / "features").rename(bank / "away")
    return lambda: (shutil.rmtree(bank / "features", ignore_errors=True), (bank / "away").rename(bank / "features"))


def all_paused(bank: Path) -> Callable[[], object]:
    with open_ledger(Home.open(bank)) as ledger:
        ledger.write(lambda c: switches.pause(c, "all", "ann", "", ledger.now_micros()), touches=NOTHING).result()

    def resume() -> None:
        with open_ledger(Home.open(bank)) as ledger:
            for who in ("bob", "eve"):
                ledger.write(lambda c, who=who: switches.resume(c, "all", who, "", ledger.now_micros()), touches=NOTHING).result()  # fmt: skip

    return resume


@pytest.mark.parametrize(("hinder", "line"), [(models_away, "model"), (snapshots_away, "snapshot"), (all_paused, "paused")])  # fmt: skip
def test_a_maturity_waits_while_nobody_could_be_told(bank: Path, hinder: Callable[[Path], Callable[[], object]], line: str) -> None:  # fmt: skip
    """Mutant: silence for want of data answers the occasion for good."""
    mend = hinder(bank)
    done = RUN(triggers_app, ["run", "--json"], obj=bank)
    told = RunAnswer.model_validate_json(done.stdout)
    assert done.exit_code == 1 and set(told.decided.values()) == {0}
    assert any(line in problem for problem in told.problems) and "occasions wait: " in done.stderr
    mend()
    done = RUN(triggers_app, ["run", "--json"], obj=bank)
    told = RunAnswer.model_validate_json(done.stdout)
    assert done.exit_code == 0 and told.decided["maturity_near"] > 0 and told.problems == ()


def test_the_command_shows_and_runs_them(bank: Path) -> None:
    shown = ShowAnswer.model_validate_json(RUN(triggers_app, ["show", "--json"], obj=bank).stdout)
    assert list(shown.triggers) == ["salary_in", "large_inflow", "dollars_came_in", "maturity_near"]
    made = RunAnswer.model_validate_json(RUN(triggers_app, ["run", "--json"], obj=bank).stdout)
    assert made.decided["maturity_near"] > 0


@pytest.mark.parametrize(("was", "now", "line"), [
    ("kinds: [salary]", "kinds: [salery]", "unknown `salery`: did you mean `salary`"),
    ("least_minor: 500000\n    channels", "channels", "`kinds` needs `currency` and `least_minor`"),
    ("channels: [app, sms]", "channels: [fax]", "unknown `fax`"),
    ("id: large_inflow", "id: salary_in", "trigger `salary_in` stands twice"),
    ("maturity_within_days: 7", "maturity_within_days: 7\n    kinds: [salary]", "one of the two"),
    ("maturity_within_days: 7", "maturity_within_days: 7\n    within_days: 3", "`within_days` goes with `kinds`"),
    ("currency: USD", "currency: USD\n    within_days: 0",
     "triggers.yaml:18: `dollars_came_in`: `within_days` is `0`: input should be greater than or equal to 1"),
])  # fmt: skip
def test_a_wrong_file_is_refused_with_one_line(bank: Path, was: str, now: str, line: str) -> None:
    file = bank / FILE
    text = file.read_text("utf-8")
    assert text.count(was) >= 1
    file.write_text(text.replace(was, now, 1), "utf-8")
    with pytest.raises(PolicyError, match=line) as refused:
        office_at(bank, Clock())
    assert "\n" not in str(refused.value)
