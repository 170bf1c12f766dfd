"""A bank that has never contacted anybody, and a holdout that shows what customers do unasked."""

import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.home import Home
from features.intake import import_tables
from features.store import FeatureStore
from tests.training.small import END, prepare_home, write_bank, write_table
from training.errors import GateError
from training.monitor import monitor
from training.promotion import promote
from training.score import FROM_HOLDOUT, Models
from training.train import TrainedModel, train_all
from training.trainers import ALL_REACHED, FROM_HOLDINGS, NO_HARM

CATALOGUE = """
offers:
  - {id: gold, family: card, product: gold_card}
  - {id: bonus, family: retention}
"""
N = 240


@pytest.fixture(scope="module")
def quiet_bank(tmp_path_factory: pytest.TempPathFactory, registry_template: Path) -> Home:
    """The small bank without contacts; the older open gold cards, three in four are held out by a note."""
    source = tmp_path_factory.mktemp("quiet")
    write_bank(source)
    for name in ("contacts", "outcomes"):
        (source / f"{name}.parquet").unlink()
    ids, rng = [f"K{i:04d}" for i in range(N)], np.random.default_rng(3)
    age = rng.integers(20, 80, N)  # as write_bank draws them
    opened = {who: date(2025, 6, 1) + timedelta(days=int(rng.integers(0, 360))) for who, years in zip(ids, age, strict=True)
              if rng.random() < 1 / (1 + np.exp(-(years - 50) / 4))}  # fmt: skip
    start = date(2024, 1, 1)
    accounts = [{"account_id": f"A{who}", "product": "current", "currency": "CNY", "opened_on": start} for who in ids]
    accounts += [
        {"account_id": f"G{who}", "product": "gold_card", "currency": "CNY", "opened_on": day}
        for who, day in opened.items()
    ]
    write_table(source, "accounts", accounts)  # type: ignore[arg-type]
    write_table(
        source,
        "holders",
        [
            {"account_id": row["account_id"], "customer_id": str(row["account_id"])[1:], "role": "owner"}
            for row in accounts
        ],
    )
    write_table(
        source,
        "products",
        [{"product": p, "family": f, "currency": "CNY"} for p, f in (("current", "deposit"), ("gold_card", "card"))],
    )
    drawn: list[dict[str, object]] = [
        {"customer_id": who, "flag": "legacy_control", "at": datetime(2025, 1, 1, tzinfo=UTC)}
        for place, who in enumerate(ids)
        if place % 4
    ]
    write_table(source, "notes", drawn)
    home = prepare_home(tmp_path_factory.mktemp("quiet_home") / "home", registry_template)
    import_tables(home, source)
    home.catalogue.write_text(CATALOGUE)
    return home


@pytest.fixture(scope="module")
def trained(quiet_bank: Home) -> dict[str, TrainedModel]:
    names = ("reach", "harm", "interest", "organic", "value")
    return {model.name: model for model in train_all(quiet_bank, END, names=names)}


def test_take_up_is_learned_from_holdings_and_the_rest_is_declared(trained: dict[str, TrainedModel]) -> None:
    assert FROM_HOLDINGS in trained["interest"].assumptions
    assert (trained["interest"].metrics["auc"] or 0) > 0.65
    assert trained["reach"].assumptions == (ALL_REACHED,) and trained["harm"].assumptions == (NO_HARM,)
    assert trained["organic"].rows < 0.85 * trained["interest"].rows


def test_what_is_taken_unasked_is_scored_and_said(quiet_bank: Home, trained: dict[str, TrainedModel]) -> None:
    """Mutant: an offer that nobody can take unasked (no product) must stay at 0, not at the pooled estimate."""
    for name in ("reach", "harm", "interest", "organic", "value"):
        try:
            promote(quiet_bank, name, trained[name].version)
        except GateError as error:
            pytest.fail(str(error))
    FeatureStore(quiet_bank).build(END)
    snapshot = FeatureStore(quiet_bank).newest(END)
    assert snapshot is not None
    table: pa.Table = snapshot.table
    models = Models.load(quiet_bank.models)
    found = models.score(table, np.ones((N, 4), bool), ["gold", "bonus"], ["card", "retention"], ["sms", "email"])
    organic, age = np.asarray(found.column("p_organic").to_pylist()), table.column("age_years").to_numpy()
    assert (organic[:, 1] == 0).all()
    assert organic[age > 60, 0].mean() > 1.5 * organic[age < 40, 0].mean() > 0
    assert models.assumptions[0] == FROM_HOLDOUT
    assert {models.tier(who) for who in ("K0000", "K0001", "K0050", "K0200")} <= {"top", "high", "middle", "base"}


def test_what_is_taken_unasked_is_watched_after_its_cut(quiet_bank: Home, tmp_path: Path) -> None:
    home = Home.open(Path(shutil.copytree(quiet_bank.path, tmp_path / "bank")))
    shutil.rmtree(home.models)  # what is live was cut later
    [model] = train_all(home, datetime(2025, 12, 1, tzinfo=UTC), names=("organic",))
    promote(home, "organic", model.version)
    [watched] = monitor(home)
    assert watched.name == "organic" and watched.rows > 100 and 0 < (watched.foretold or 0) < 0.5


def test_without_a_holdout_nothing_is_learned_of_what_is_taken_unasked(small_bank: Home) -> None:
    assert train_all(small_bank, END, names=("organic",)) == []
