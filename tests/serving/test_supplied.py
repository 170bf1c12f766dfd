"""The bank's own scores and a challenger, in the engine: what they replace, and what happens when they are old."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import nbo
from features.home import Home
from rules.worth import matrix
from serving.engine import Engine
from serving.lists.batch import chunks, read_inputs
from serving.office import open_ledger
from tests.home import NOW, copied
from tests.training.small import put_live
from training.challenger import in_challenge
from training.score import read_live


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(copied(tmp_path / "bank"))


def put(home: Home, family: str, score: float, days_old: float = 1.0, but: frozenset[str] = frozenset()) -> str:
    """Live scores of everybody but some."""
    people = pl.read_parquet(sorted(home.table("customers").glob("part-*.parquet")))["customer_id"].sort().to_list()
    made = NOW - timedelta(days=days_old)
    table = pl.DataFrame({"customer_id": [c for c in people if c not in but]}).with_columns(
        pl.lit(score).alias("score"), pl.lit(made).cast(pl.Datetime("us", "UTC")).alias("as_of"))  # fmt: skip
    folder = home.models / "supplied"
    folder.mkdir(exist_ok=True)
    table.write_parquet(folder / "draft")
    sha256 = hashlib.sha256((folder / "draft").read_bytes()).hexdigest()
    (folder / "draft").rename(folder / f"{sha256}.parquet")
    (home.models / "supplied.json").write_text(json.dumps({family: sha256}))
    return sha256


def scored(engine: Engine) -> tuple[list[str], list[str], np.ndarray]:
    """Customers, their units and p_interest with every cell open."""
    with open_ledger(engine.home) as ledger:
        customers = next(iter(chunks(read_inputs(engine, ledger, NOW, None))))
    cells = np.ones((customers.num_rows, engine.catalogue.n_cells), dtype=bool)
    scores = engine.score(customers, cells)
    return (
        customers.column("customer_id").to_pylist(),
        customers.column("unit_id").to_pylist(),
        matrix(scores, "p_interest"),
    )


def test_the_banks_scores_and_a_challenger_decide(home: Home) -> None:
    """One family's interest is the bank's, null without a row; the other half of the units hears the challenger."""
    before = Engine.open(home)
    people, units, model = scored(before)
    family = before.catalogue.offers[0].family
    sha256 = put(home, family, 0.123, but=frozenset({people[5]}))
    rival = read_live(home.models)["interest"]
    (home.models / "challengers.json").write_text(
        json.dumps({"interest": {"sha256": rival, "share": 0.5, "season": "2026H1"}})
    )
    engine = Engine.open(home)
    mine = np.array([offer.family == family for offer in engine.catalogue.offers])
    p = scored(engine)[2]
    assert (p[np.arange(len(p)) != 5][:, mine] == 0.123).all()
    assert np.isnan(p[5, mine]).all()
    np.testing.assert_array_equal(p[:, ~mine], model[:, ~mine])  # the challenger here is the champion's twin
    assert engine.live.duel is not None
    assert 0 < in_challenge(home.secret(), "interest", "2026H1", units, 0.5).mean() < 1
    revisions = engine.revisions(NOW, engine.terms(NOW))
    assert (revisions[f"scores_{family}"], revisions["challenger_interest"]) == (sha256, rival)
    assert engine.problems(NOW) == before.problems(NOW) == ()


def test_p07_stale_or_changed_scores_degrade(home: Home) -> None:
    family = Engine.open(home).catalogue.offers[0].family
    put(home, family, 0.1, days_old=34.9)
    assert Engine.open(home).problems(NOW) == ()
    sha256 = put(home, family, 0.1, days_old=35.1)
    assert "older than 35 days" in Engine.open(home).problems(NOW)[0]
    (home.models / "supplied" / f"{sha256}.parquet").write_bytes(b"other")
    assert "not what was promoted" in Engine.open(home).problems(NOW)[0]


Run = Callable[..., tuple[int, str, BaseException | None]]


@pytest.fixture
def run(home: Home) -> Run:
    def call(*arguments: str) -> tuple[int, str, BaseException | None]:
        found = CliRunner().invoke(nbo.app, ["--home", str(home.path), "models", *arguments])
        return found.exit_code, found.stdout, found.exception

    return call


def test_the_commands_after_go_live(run: Run) -> None:
    """A fresh home: nothing is ripe, which is said; what is asked wrongly is one line.

    The home's hand-written harm model reads balances, which rows of harm do not have: one alarm, exit 1.
    """
    code, out, _ = run("monitor", "--json")
    answer = json.loads(out)
    assert code == 1
    assert [line.split(" reads ")[0] for line in answer["alarms"]] == ["harm: model `harm`"]
    assert {model["name"] for model in answer["models"]} == {"interest", "reach", "harm", "churn"}
    assert all("are needed" in model["unmeasured"] for model in answer["models"] if model["name"] != "harm")
    for arguments, message in {
        ("monitor", "--since", "noon"): "noon", ("compare", "interest"): "nobody challenges model",
        ("compare", "nothing"): "is not live", ("unchallenge", "interest"): "nobody challenges",
        ("challenge", "value", "1"): "can be challenged", ("supply", "hats"): "no family `hats`",
        ("supply", "wealth"): "is missing; write customer_id, score, as_of there",
        ("supply", "wealth", "--withdraw"): "no supplied scores of `wealth`",
    }.items():  # fmt: skip
        _, _, error = run(*arguments)
        assert isinstance(error, ValueError), arguments
        assert message in str(error)
        assert "\n" not in str(error)


def test_the_monitor_finds_a_model_that_says_the_wrong_thing(home: Home, run: Run) -> None:
    """Since it was trained in March the home's history holds ripe contacts, and many are reached. Exit 1."""
    put_live(home, 0.02)
    code, out, _ = run("monitor", "--json")
    assert code == 1
    assert any(line.startswith("reach: calibration") for line in json.loads(out)["alarms"])
