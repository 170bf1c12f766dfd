"""`nbo rules check | cases | show | columns`: exit codes, one line per mistake, one JSON object."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rules.commands import CasesAnswer, CheckAnswer, ShowAnswer, app, shown
from rules.errors import RulesError
from rules.folder import find_policies
from tests import bank

NO_HOME = Path("no-such-home")


def ask(*words: str, home: Path = NO_HOME) -> Result:
    return CliRunner().invoke(app, list(words), obj=home)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped retail policy."""
    for name in ("retail.yaml", "retail.cases.yaml", "retail.catalogue.yaml", "retail.columns.yaml"):
        shutil.copy(bank.POLICIES / name, tmp_path / name)
    return tmp_path


def edit(folder: Path, old: str, new: str, name: str = "retail.yaml") -> None:
    text = (folder / name).read_text("utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), "utf-8")


def test_the_shipped_policy_passes_check_and_cases() -> None:
    for words in (("check",), ("cases",), ("check", str(bank.POLICIES)), ("cases", str(bank.POLICIES))):
        said = ask(*words)
        assert (said.exit_code, said.exception) == (0, None), said.output


def test_json_is_one_object_of_the_answers_model(folder: Path) -> None:
    checked = CheckAnswer.model_validate_json(ask("check", str(folder), "--json").stdout)
    assert checked.ok
    assert checked.parts == len(bank.policy().parts)
    tried = CasesAnswer.model_validate_json(ask("cases", str(folder), "--json").stdout)
    assert (tried.ok, tried.failures, tried.gaps) == (True, [], [])
    shown = ShowAnswer.model_validate_json(ask("show", "entry_amount", "--json").stdout)
    assert shown.rules[0].sentence.startswith("Silent when balance in the offer's currency is below")
    assert '"balance_usd_minor" < CAST(500000 AS DOUBLE PRECISION)' in shown.rules[0].sql


def test_show_speaks_both_languages() -> None:
    assert "The customer holds less than the entry amount" in ask("show", "entry_amount").stdout
    said = ask("show", "entry_amount", "--lang", "zh").stdout
    assert "产品币种余额低于起购金额时静默" in said
    assert "Silent" not in said


def test_every_part_can_be_shown() -> None:
    [one] = find_policies(None, None)
    for part in one.policy.parts:
        for tongue in ("en", "zh"):
            answer = shown(one, part, tongue)
            assert answer.rules
            assert answer.line > 1
            assert answer.explanation


CAUGHT = [
    ("typo", "when: arrears_days > 0", "when: arears_days > 0", "check", 1, "`in_arrears`: unknown column `arears_days`: did you mean `arrears_days`?"),
    ("careless >=", "when: risk_assessment_age_days > 365", "when: risk_assessment_age_days >= 365", "cases", 1, "case `assessed_365_days_ago` about `risk_assessed`"),
    ("dropped channel", "scope: {channels: [sms, call], direction: outbound}", "scope: {channels: [sms], direction: outbound}", "cases", 1, "case `holiday_yes` about `holiday`"),
    ("opens on missing", "when: credit_grade > 7", "when: credit_grade IS NOT NULL AND credit_grade > 7", "check", 1, "`credit_grade`: opens on missing data"),
    ("opens on missing, cases", "when: credit_grade > 7", "when: credit_grade IS NOT NULL AND credit_grade > 7", "cases", 1,
     "case `grade_unknown` about `credit_grade`: card_cashback by app, outbound: expected eligibility_unknown; found open"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "command", "code", "line"), [row[1:] for row in CAUGHT], ids=[row[0] for row in CAUGHT]
)
def test_a_careless_edit_is_caught_and_named(
    folder: Path, old: str, new: str, command: str, code: int, line: str
) -> None:
    edit(folder, old, new)
    said = ask(command, str(folder))
    assert said.exit_code == code
    assert line in said.stdout
    answer = json.loads(ask(command, str(folder), "--json").stdout)
    assert answer["ok"] is False


def test_a_removed_rule_is_caught_and_named(folder: Path) -> None:
    text = (folder / "retail.yaml").read_text("utf-8")
    start, end = text.index("  - id: staff"), text.index("  - id: already_holds")
    (folder / "retail.yaml").write_text(text[:start] + text[end:], "utf-8")
    refused = ask("cases", str(folder))
    assert isinstance(refused.exception, RulesError)
    assert "retail.cases.yaml" in str(refused.exception)
    assert "case `colleague`: no part of the policy `staff`" in str(refused.exception)


UNREADABLE = [
    ("retail.yaml", "id: retail", "id: [", "is not YAML"),
    ("retail.yaml", "owner: compliance\n", "onwer: compliance\n", "`deceased`: unknown key `onwer`: did you mean `owner`?"),
    ("retail.catalogue.yaml", "family: wealth\n", "family: welth\n", "no family `welth`"),
    ("retail.columns.yaml", "type: bool", "type: boool", "`bool`?"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "line"), UNREADABLE)
def test_what_cannot_be_read_is_one_line(folder: Path, name: str, old: str, new: str, line: str) -> None:
    edit(folder, old, new, name)
    refused = ask("check", str(folder))
    assert isinstance(refused.exception, RulesError)
    assert line in str(refused.exception)
    assert str(folder / name) in str(refused.exception)
    assert "\n" not in str(refused.exception)


@pytest.mark.parametrize(("words", "line"), [
    (("check", "nowhere"), "nowhere: is no folder"),
    (("show", "entry_amont"), "no rule `entry_amont`: did you mean `entry_amount`?"),
    (("columns",), "there is no home with features here"),
])  # fmt: skip
def test_a_question_nobody_can_answer_says_what_to_do(words: tuple[str, ...], line: str) -> None:
    assert line in str(ask(*words).exception)


def test_a_policy_without_a_catalogue_is_refused(folder: Path) -> None:
    (folder / "retail.catalogue.yaml").unlink()
    assert "has no catalogue; put `retail.catalogue.yaml` or `catalogue.yaml` beside it" in str(
        ask("check", str(folder)).exception
    )
    shutil.copy(bank.POLICIES / "retail.catalogue.yaml", folder / "catalogue.yaml")
    assert ask("check", str(folder)).exit_code == 0


def test_a_home_is_checked_in_its_own_folders(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "policies").mkdir(parents=True)
    shutil.copy(folder / "retail.yaml", home / "policies" / "retail.yaml")
    shutil.copy(folder / "retail.catalogue.yaml", home / "catalogue.yaml")
    edit(home / "policies", "max: 2\n", "max: 3\n")
    assert str(home) in ask("check", home=home).stdout
    said = ask("cases", home=home)  # a home without cases of its own is held to the shipped ones
    assert (said.exit_code, "case `sms_twice` about `cap_sms_week`" in said.stdout) == (1, True)
    assert ask("check", str(home)).exit_code == 0


def test_a_rule_that_is_over_is_found_on_the_day_asked_about(folder: Path) -> None:
    edit(folder, "effective: {from: 2024-01-01}", "effective: {from: 2024-01-01, to: 2026-06-30}")
    assert ask("check", str(folder), "--on", "2026-06-30").exit_code == 0
    said = ask("check", str(folder), "--on", "2026-07-01")
    assert (said.exit_code, "`deceased`: ended on 2026-06-30" in said.stdout) == (1, True)
