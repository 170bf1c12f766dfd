import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import nbo
from benchmarks.offpolicy import clicks, folder, from_bts, from_random
from tests.training.logs import TARGET_VALUE, table
from training.decisionlog import beside, checked_log
from training.offpolicy import SupportError, value_of
from training.offpolicy_commands import OffPolicyAnswer

with_bandit_data = pytest.mark.skipif(
    not folder().is_dir(), reason=f"{folder()} is not there; set NBO_DATA to the folder above it"
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    table(1).write_parquet(path)
    return path


def run(*arguments: str) -> tuple[int, str, str, BaseException | None]:
    found = CliRunner().invoke(nbo.app, ["models", "offpolicy", *arguments])
    return found.exit_code, found.stdout, found.stderr, found.exception


def test_the_report(log: Path) -> None:
    code, out, _, _ = run(str(log), "--policy", "wanted", "--json")
    answer = OffPolicyAnswer.model_validate_json(out)
    assert code == 0
    assert answer.refused is None
    assert answer.values["dr"].low <= TARGET_VALUE <= answer.values["dr"].high
    assert answer.gains["dr"].low > 0  # the policy that knows the best is better than the log
    code, text, _, _ = run(str(log), "--policy", "wanted")
    assert code == 0
    assert "2100 decisions of 700 units" in text
    assert "doubly robust" in text


def test_no_support_is_exit_one_with_the_reason_in_json(log: Path, tmp_path: Path) -> None:
    rows = pl.read_parquet(log).head(4 * 90)
    rows.write_parquet(tmp_path / "few.parquet")
    code, out, err, _ = run(str(tmp_path / "few.parquet"), "--policy", "wanted", "--json")
    assert code == 1
    assert json.loads(out)["values"] == {}
    assert json.loads(out)["refused"] == err.strip()
    assert "200 are needed" in err


def test_bad_input_is_a_value_error_of_one_line(log: Path) -> None:
    for arguments in (["nothing.parquet"], [str(log), "--policy", "mine"], [str(log), "--clip", "0.1"]):
        _, _, _, error = run(*arguments)
        assert isinstance(error, ValueError)
        assert "\n" not in str(error)


@with_bandit_data
def test_open_bandit_random_says_what_bts_brings() -> None:
    """Men: bts's clicks on its own log lie in every method's interval; its probabilities are estimated."""
    found = value_of(beside(checked_log(from_random("men")), "bts"))
    truth = clicks("bts", "men")["click"].mean()
    assert 2_800 < found.ess < 2_900
    for value in found.values.values():
        assert value.low <= truth <= value.high  # type: ignore[operator]


@with_bandit_data
@pytest.mark.parametrize(("campaign", "ess"), [("all", 340), ("men", 656)])
def test_open_bandit_bts_says_what_random_brings(campaign: str, ess: int) -> None:
    found = value_of(beside(checked_log(from_bts(campaign)), "random"))
    assert round(found.ess) == ess
    assert "effective rewarded decisions" in found.notes[0]


@with_bandit_data
def test_open_bandit_women_is_refused() -> None:
    with pytest.raises(SupportError, match="no support: 2 effective of 10000 decisions"):
        value_of(beside(checked_log(from_bts("women")), "random"))
