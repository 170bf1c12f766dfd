"""What is promoted, rolled back or approved while the service runs decides; what is broken does not (P07, P09, P23)."""

import logging
import shutil
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic_core import to_json
from typer.testing import CliRunner

import nbo
from features import bases
from rules.liveset import files_in, revision_of
from serving import watch as room
from serving.changes import live
from serving.decisions import canonical, decide_one
from serving.engine import Engine
from serving.http.messages import DecisionRequest
from serving.http.metrics import Metrics
from serving.office import Office
from serving.watch import Watch
from tests.home import Clock, office_at, registered
from tests.serving.ledger.test_flips import other_set, put_into_force
from training import promotion
from training.score import read_live
from training.stamp import live_stamp
from training.tiers import forget

CUSTOMERS = [f"C{n:07d}" for n in range(1, 41)]


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A home whose interest model is version 1 of two."""
    return Path(shutil.copytree(registered(), tmp_path / "bank"))


@pytest.fixture
def office(bank: Path, clock: Clock) -> Generator[Office]:
    """The office with a watch that looks when the test says so."""
    stamp = live_stamp(bank / "models")
    opened = office_at(bank, clock)
    opened.watch = opened.watching(stamp)
    yield opened
    opened.close()


def models(bank: Path, *said: str) -> None:
    done = CliRunner().invoke(nbo.app, ["--home", str(bank), "models", *said, "--json"])
    assert done.exit_code == 0, done.exception or done.stderr


def look(office: Office) -> None:
    assert office.watch is not None
    office.watch.look()


def decided(office: Office) -> list[bytes]:
    """Everything that is said and kept of decisions about forty customers in one instant: answer, inputs with scores, row."""
    at = office.ledger.now_micros()
    with office.ledger.read() as connection:
        engine = live.current(office.engine, connection, at)
        found = [
            decide_one(engine, connection, DecisionRequest(customer_id=one), "same", office._now()) for one in CUSTOMERS
        ]
    return [to_json(one.said) + one.inputs + canonical(one.row) for one in found]


def promoted_and_rolled_back(office: Office, bank: Path) -> None:
    """P23 for models, in a service that runs: other decisions under version 2, and exactly the former ones after."""
    before = decided(office)
    models(bank, "promote", "interest", "2")
    look(office)
    meanwhile = decided(office)
    assert all(one != other for one, other in zip(before, meanwhile, strict=True)), "each names the model that decides"
    offers = [[b'"offer_id":"' + o.id.encode() in one for o in office.engine.catalogue.offers] for one in before]
    assert offers != [
        [b'"offer_id":"' + o.id.encode() in one for o in office.engine.catalogue.offers] for one in meanwhile
    ]
    models(bank, "rollback", "interest")
    look(office)
    assert decided(office) == before


def test_p23_rollback_of_a_model_gives_a_running_service_exactly_the_former_decisions(
    office: Office, bank: Path
) -> None:
    promoted_and_rolled_back(office, bank)


def test_p23_rollback_of_models_and_rules_in_any_order_gives_exactly_the_former_decisions(
    office: Office, bank: Path
) -> None:
    """The set that comes back must come with the models that are live by then, not with those it was opened with."""
    both = files_in(bank), other_set(bank)
    before = decided(office)
    put_into_force(office, both[1])
    under_other = decided(office)
    models(bank, "promote", "interest", "2")
    look(office)
    put_into_force(office, both[0])
    new_model = decided(office)
    put_into_force(office, both[1])
    models(bank, "rollback", "interest")
    look(office)
    assert decided(office) == under_other
    put_into_force(office, both[0])
    assert decided(office) == before
    assert len({tuple(before), tuple(under_other), tuple(new_model)}) == 3


def test_the_first_decision_finds_its_snapshot_read(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    honest = bases.Bases.of
    monkeypatch.setattr(bases.Bases, "of", lambda self, snapshot: (read.append(self._held), honest(self, snapshot))[1])
    assert office.watch is not None
    office.watch.start()
    n_before = len(read)
    decided(office)
    assert read[0] is None and n_before < len(read) and None not in read[n_before:]


def kept_siblings(engine: Engine) -> Engine:
    """The mutant: sets opened before keep the models they were opened with."""
    return replace(HONEST(engine), siblings=engine.siblings)


HONEST = Engine.with_live_models
MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "blind": lambda patch: patch.setattr(Watch, "_look_at_models", lambda self: None),
    "first look only": lambda patch: patch.setattr(room, "live_stamp", lambda models: str((models / "live.json").exists())),
    "siblings kept": lambda patch: patch.setattr(Engine, "with_live_models", kept_siblings),
    "way back to the newest": lambda patch: patch.setattr(
        promotion, "read_history_of", lambda models: {name: [sha] for name, sha in read_live(models).items()}
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_p23_a_way_back_to_something_else_is_seen(
    office: Office, bank: Path, monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    MUTANTS[mutant](monkeypatch)
    with pytest.raises(AssertionError):
        if mutant == "siblings kept":
            test_p23_rollback_of_models_and_rules_in_any_order_gives_exactly_the_former_decisions(office, bank)
        else:
            promoted_and_rolled_back(office, bank)


def broken(bank: Path) -> Path:
    """A file of the bundle that is live, damaged."""
    bundle = bank / "models" / read_live(bank / "models")["interest"]
    part = next(path for path in sorted(bundle.rglob("*.json")) if path.name != "manifest.json")
    part.write_bytes(part.read_bytes().replace(b"0", b"1", 1))
    return part


def test_a_broken_bundle_keeps_the_former_engine_and_says_so(
    office: Office, bank: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, engine = decided(office), office.engine
    models(bank, "promote", "interest", "2")
    broken(bank)
    with caplog.at_level(logging.ERROR, "serving.watch"):
        for _ in range(3):
            look(office)
    assert office.engine is engine and decided(office) == before
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 and lines[0].startswith(
        "the models now live cannot be taken, the former ones go on deciding: bundle"
    )
    ready = office.ready()
    assert ready.ready and not ready.degraded and ready.held_back is not None and "bundle" in ready.held_back
    assert b"nbo_models_held_back 1.0" in Metrics().render(ready)
    models(bank, "rollback", "interest")
    look(office)
    assert office.ready().held_back is None and decided(office) == before
    assert b"nbo_models_held_back 0.0" in Metrics().render(office.ready())


def test_models_that_cannot_decide_are_held_back_whatever_it_is(
    office: Office, bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = decided(office)

    def fails(*_: object) -> None:
        raise KeyError("C0000001")

    models(bank, "promote", "interest", "2")
    with monkeypatch.context() as patch:
        patch.setattr(room, "tried", fails)
        look(office)
    assert office.ready().held_back == "KeyError" and decided(office) == before
    assert office.watch is not None and office.watch._failed is not None
    office.watch._failed = (office.watch._failed[0], 0.0)  # half a minute later
    look(office)
    assert office.ready().held_back is None and decided(office) != before


def test_whoever_is_erased_loses_his_tier_in_a_running_service(office: Office, bank: Path) -> None:
    """Tiers are the value model's; a note beside the file says where they stand now."""
    engine = office.engine
    forget(bank / "models", CUSTOMERS[0])  # this bank has no tiers: nothing is live otherwise
    look(office)
    assert office.engine is engine
    (bank / "models" / "tiers").mkdir(exist_ok=True)
    (bank / "models" / "tiers" / f"{'0' * 64}.now").write_text("1" * 64, "ascii")
    look(office)
    assert office.engine is not engine and office.engine.live.models is not engine.live.models


def test_a_set_is_open_before_it_is_in_force(office: Office, bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dated ahead by another process: the watch opens it, and no decision has to."""
    from tests.serving.ledger.test_flips import dated_ahead

    other = revision_of(other_set(bank))
    dated_ahead(office, other_set(bank), hours=1)
    assert other not in office.engine.siblings
    look(office)
    assert other in office.engine.siblings and office.engine.live_set != other


def test_the_thread_takes_what_is_promoted_while_requests_run(bank: Path, clock: Clock) -> None:
    """The watch as it stands in a service, and its end."""
    import time

    from serving.office import open_office
    from tests.home import ask

    office = open_office(bank, serving=True, clock=clock)
    try:
        first = ask(office).revisions["model_interest"]
        models(bank, "promote", "interest", "2")
        until = time.monotonic() + 60
        while (now := ask(office, "C0000004", "inbound").revisions["model_interest"]) == first:
            assert time.monotonic() < until
        assert now == read_live(bank / "models")["interest"]
    finally:
        office.close()
    assert office.watch is not None and office.watch._thread is not None and not office.watch._thread.is_alive()
