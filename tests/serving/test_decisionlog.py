from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import nbo
from serving.decisionlog import OF_LISTS, chances, export_log
from serving.ledger.book import micros
from serving.ledger.outcomes import accept
from serving.ledger.records import find
from serving.ledger.schema import decisions
from serving.lists.plan import make_plan, reserve_plan
from serving.office import Office
from tests.home import Clock, ask, copied, office_at
from training.decisionlog import beside, checked_log

PEOPLE = [f"C{n:07d}" for n in range(1, 161)]


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> tuple[Office, Clock]:
    """A hundred and sixty customers asked for once, inbound; 31 days have gone since."""
    clock = Clock()
    office = office_at(copied(tmp_path_factory.mktemp("log") / "bank"), clock)
    answers = [ask(office, who, "inbound") for who in PEOPLE]
    made = [answer for answer in answers if answer.choices]
    now = clock.forward(days=1)
    for answer in made[::3]:
        contact = answer.choices[0].contact_id
        office.ledger.write(
            lambda c, contact=contact: accept(c, contact, "accepted", micros(now), micros(now))
        ).result()
    clock.forward(days=30)
    return office, clock


def exported(office: Office, clock: Clock) -> pa.Table:
    with office.ledger.read() as connection:
        return export_log(office.engine, connection, 0, micros(clock.now)).rows


def test_the_probabilities_are_those_recorded(decided: tuple[Office, Clock]) -> None:
    """Every decision comes out again with its logged p, all its actions adding up to 1."""
    office, clock = decided
    with office.ledger.read() as connection:
        found = export_log(office.engine, connection, 0, micros(clock.now))
    assert set(found.left_out) <= {"silent: nothing to choose from"}
    assert found.n_decisions > 60
    log = checked_log(pl.DataFrame(found.rows))
    assert log.complete
    several = log.rows.group_by("decision_id").len().filter(pl.col("len") > 1)
    assert len(several) > 10


def test_what_was_accepted_is_the_reward(decided: tuple[Office, Clock]) -> None:
    rows = exported(*decided)
    made = rows.filter(rows.column("chosen"))
    n = len(made)
    assert pc.sum(made.column("reward")).as_py() == len(range(0, n, 3))
    assert rows.filter(pc.invert(rows.column("chosen"))).column("reward").null_count == len(rows) - n


def test_young_decisions_have_no_reward(decided: tuple[Office, Clock]) -> None:
    office, clock = decided
    with office.ledger.read() as connection:
        young = export_log(office.engine, connection, 0, micros(clock.now - timedelta(days=2))).rows
    assert young.column("reward").null_count == len(young)


def test_a_record_that_says_another_probability_is_left_out(decided: tuple[Office, Clock], tmp_path: Path) -> None:
    """The mutant: a log whose p_chosen is not what the engine drew with."""
    office, clock = decided
    vault = office.engine.vault
    with office.ledger._writing.connect() as connection:
        [name] = connection.exec_driver_sql("SELECT decision_id FROM decisions WHERE reasons = '[]' LIMIT 1").fetchone()
        row = vault.opened(connection, find(connection, name))
        wrong = row.result.replace(b'"p_chosen":1.0', b'"p_chosen":0.5').replace(b'"p_chosen":0.9', b'"p_chosen":0.5')
        result = vault.closed(connection, replace(row, result=wrong)).result
        connection.execute(decisions.update().where(decisions.c.decision_id == name).values(result=result))
        found = export_log(office.engine, connection, 0, micros(clock.now))
        connection.rollback()
    assert found.left_out["the recorded probability does not come out again"] == 1


def test_chances_by_hand() -> None:
    from types import SimpleNamespace as Some

    terms = Some(exploration=Some(share=0.02, max_loss_minor=100))
    open_ = np.array([[True, True, True, False], [True, False, False, False], [True, True, True, True], [True] * 4])
    minor = np.array([[500, 450, 390, 900], [70, 0, 0, 0], [-5, 0, -1, 0], [9, 8, 7, 6]])
    expected = [[0.99, 0.01, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    np.testing.assert_allclose(chances(open_, minor, np.array([True, True, True, False]), terms), expected)  # type: ignore[arg-type]


def test_the_command_writes_what_the_report_reads(decided: tuple[Office, Clock], tmp_path: Path) -> None:
    office, _ = decided
    out = tmp_path / "log.parquet"
    run = CliRunner().invoke(nbo.app, ["--home", str(office.engine.home.path), "audit", "log", str(out), "--json"])
    assert run.exit_code == 0, run.output
    rows = pl.read_parquet(out)
    assert rows["reward"].null_count() == len(rows)  # the home's own clock has not moved: nothing is ripe
    ripe = rows.with_columns(pl.when("chosen").then(0.0).alias("reward"))
    assert (beside(checked_log(ripe), "best").p_policy > 0).any()
    assert pq.read_schema(out).names[0] == "decision_id"


@pytest.mark.parametrize(("arguments", "message"), [
    (["nowhere/log.parquet"], "is no folder"), (["log.parquet", "--since", "noon"], "is no day or instant"),
])  # fmt: skip
def test_bad_input_is_one_line(decided: tuple[Office, Clock], arguments: list[str], message: str) -> None:
    office, _ = decided
    run = CliRunner().invoke(nbo.app, ["--home", str(office.engine.home.path), "audit", "log", *arguments])
    assert isinstance(run.exception, ValueError)
    assert message in str(run.exception)


def test_what_lists_decided_is_left_out_and_counted(tmp_path: Path) -> None:
    """Mutant: a bank that works with lists reads that nothing was left out."""
    clock = Clock()
    office = office_at(copied(tmp_path / "bank"), clock)
    plan = make_plan(office.engine, office.ledger, ["all_year"], clock.now)
    n = pc.sum(pc.is_valid(reserve_plan(plan, office.ledger).decisions.column("offer_id"))).as_py()
    assert n > 0
    with office.ledger.read() as connection:
        found = export_log(office.engine, connection, 0, micros(clock.now))
        assert export_log(office.engine, connection, micros(clock.now) + 1, micros(clock.now) + 2).left_out == {}
    assert (found.n_decisions, found.left_out) == (0, {OF_LISTS: n})
    out = tmp_path / "log.parquet"
    run = CliRunner().invoke(nbo.app, ["--home", str(office.engine.home.path), "audit", "log", str(out)])
    assert (
        f"left out, contacts of lists: an explorer who gets no seat falls silent, so no probability is that of the choice: {n}"
        in run.output
    )
