"""`nbo audit clock`: it says what is refused, and a reset takes a reason and leaves an entry."""

from datetime import timedelta
from pathlib import Path

from typer.testing import CliRunner, Result

from features.home import Home
from serving.commands.audit import app
from serving.commands.audit_clock import ClockAnswer
from serving.ledger.journal import Entered, entries
from serving.office import open_ledger
from tests.home import NOW, Clock, ask, office_at


def run(bank: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["clock", *words], obj=bank)


def test_p20_an_operator_resets_the_clock_at_the_shell(bank: Path, clock: Clock) -> None:
    office = office_at(bank, clock)
    clock.forward(days=300)  # the home's own clock stands at NOW: as if it had run ahead and was set right
    ask(office)
    office.close()
    refused = run(bank, "--json")
    told = ClockAnswer.model_validate_json(refused.stdout)
    assert refused.exit_code == 1 and told.refused is not None and "went back" in told.refused
    assert "say why" in str(run(bank, "--reset").exception)
    done = run(bank, "--reset", "--reason", "the server ran ahead", "--json")
    assert done.exit_code == 0 and ClockAnswer.model_validate_json(done.stdout).seen == NOW
    assert run(bank).exit_code == 0 and run(bank).stdout.startswith("seen last: 2026-06-01T02:00:00Z")
    with open_ledger(Home.open(bank)) as ledger:
        assert ledger.write(lambda _: True).result()
        with ledger.read() as connection:
            (entry,) = entries(connection, Entered.CLOCK)
    assert entry.body["reason"] == "the server ran ahead" and entry.principal.startswith("operator ")
    assert NOW + timedelta(days=299) < NOW + timedelta(microseconds=entry.body["seen"] - entry.at)
