"""Champion beside challenger: what each promised, what came since, how far it drifted, and the drawing of both."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.console.charts import draw_measured
from serving.console.measuring import Measured, _curve
from serving.console.measuring import measured as measure
from serving.console.works import models as work
from serving.office import Office
from tests.training.small import write_small
from training.contest import Comparison, compared
from training.monitor import monitor, state_of
from training.score import read_live
from training.served import Served

SINCE = datetime(2026, 5, 1, tzinfo=UTC)
ROWS = 4_000


@pytest.fixture
def measured() -> Measured:
    """Of made-up rows: the challenger knows twice as much of who says yes."""
    rng = np.random.default_rng(3)
    knows = rng.normal(size=ROWS)
    yes = (rng.random(ROWS) < 1 / (1 + np.exp(2 - 2 * knows))).astype(float)
    scores = {"live": 1 / (1 + np.exp(2 - knows)), "challenger": 1 / (1 + np.exp(2 - 2 * knows))}
    rows = Served(np.arange(ROWS).astype(str), np.full(ROWS, ""), yes, scores, np.ones(ROWS), np.zeros(ROWS, np.int64))
    against: Comparison = compared("interest", SINCE, rows, "live", np.arange(ROWS) % 2 == 0)
    state = state_of("interest", "0" * 64, SINCE, rows, rows, None)
    return Measured(state, against, tuple(_curve(who, rows) for who in scores))


def test_both_are_drawn_in_both_languages(tmp_path: Path, measured: Measured) -> None:
    draw_measured(tmp_path, [measured])
    for name, words in (
        ("interest-since-en.svg", ("Calibration", "Lift", "champion", "challenger")),
        ("interest-since-zh.svg", ("校准", "提升度", "现役", "挑战")),
    ):
        svg = (tmp_path / name).read_text("utf-8")
        for word in words:
            assert word in svg, (name, word)
    for curve in measured.curves:
        assert len(curve.bins) == 10
        assert curve.lifts[-1] == (1.0, pytest.approx(1.0))
    live, rival = ([abs(p - rate) for p, rate in curve.bins] for curve in measured.curves)
    assert max(rival) < max(live), "the challenger foretells what comes, the champion does not"


def test_the_page_shows_them_beside_each_other(
    office: Office, person: Callable[[str], Any], measured: Measured
) -> None:
    home = office.engine.home
    rival = read_live(home.models)["interest"]
    said = {"interest": {"sha256": rival, "share": 0.25, "season": "2026H1"}}
    (home.models / "challengers.json").write_text(json.dumps(said))
    job = home.path / "console" / "jobs" / "m1"
    job.mkdir(parents=True)
    (job / "asked.json").write_text(json.dumps({"kind": "models", "asked": {}, "by": "ana", "at": 1.0, "pid": 1}))
    (job / "answer.json").write_text(json.dumps({"models": [json.loads(json.dumps(asdict(measured), default=str))]}))
    office.engine = type(office.engine).open(home)
    page = person("ana").get("/console/models").text
    assert "The challenger decides for 25.0 % of the units, season 2026H1." in page
    assert page.count('<th scope="col">champion</th>') >= 1
    assert '<th scope="col">challenger</th>' in page
    assert "drift (PSI)" in page
    assert measured.state.foretold is not None
    assert f"{100 * measured.state.foretold:.2f} %" in page
    assert measured.against is not None
    assert f"{measured.against.gain:+.5f}" in page
    assert '<img src="/console/jobs/m1/interest-since-en.svg"' in page


def test_without_a_live_model_there_is_one_line(office: Office, tmp_path: Path) -> None:
    (office.engine.home.models / "live.json").write_text("{}")
    with pytest.raises(ValueError, match="no live model to measure"):
        work(office.engine.home, {}, "ana", tmp_path, lambda *_: None)


def test_the_console_says_what_the_command_says(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutant: the rows before, which a refitted model has learned from and ranks too well, in place of what was promised."""
    rng = np.random.default_rng(4)
    score = rng.uniform(0.05, 0.6, ROWS)
    label = (rng.random(ROWS) < score).astype(float)
    blank, one, at = np.full(ROWS, ""), np.ones(ROWS), np.zeros(ROWS, np.int64)
    owners = np.arange(ROWS).astype(str)
    after = Served(owners, blank, label, {"live": score}, one, at)
    learned = Served(owners, blank, label, {"live": np.clip(score + 0.3 * label, 0, 1)}, one, at)
    monkeypatch.setattr("training.monitor.mature_rows", lambda *_: (learned, after))
    home = office.engine.home
    (home.models / "live.json").write_text(json.dumps({"reach": write_small(home.models, "reach").name}))
    told = [one.state for one in measure(home, tmp_path, lambda *_: None)]
    assert told == monitor(home)
    assert told[0].auc_before == 0.7
    assert not any(line.startswith("ranking") for line in told[0].alarms)
