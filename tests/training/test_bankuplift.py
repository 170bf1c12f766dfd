"""`nbo train uplift` on a bank whose contacts help the older and nobody else."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from features.home import Home
from features.intake import import_tables
from features.store import FeatureStore
from tests.training.small import END, prepare_home, write_bank, write_table
from training.commands import TrainAnswer, train_app
from training.errors import DatasetError
from training.registry import Registry
from training.score import FROM_HOLDOUT, NO_HOLDOUT

N, HELD = 240, 90
CATALOGUE = "offers:\n  - {id: gold, family: card, product: gold_card}\n  - {id: bonus, family: retention}\n"


def tables(source: Path, *, held_out: bool) -> None:
    """Contacts of ten months, what came of them, and what was opened unasked."""
    write_bank(source)
    rng, ids = np.random.default_rng(3), [f"K{i:04d}" for i in range(N)]
    age = rng.integers(20, 80, N)  # as write_bank draws them
    draw = np.random.default_rng(5)
    contacts: list[dict[str, object]] = []
    opened: dict[str, date] = {}
    start = datetime(2025, 6, 1, tzinfo=UTC)
    for number in range(900):
        who, at = int(draw.integers(HELD, N)), start + timedelta(hours=int(draw.integers(0, 24 * 320)))
        contacts.append({"contact_id": f"C{number:05d}", "customer_id": ids[who], "offer_id": "gold", "channel": "sms",
                         "direction": "outbound", "purpose": "marketing", "decided_at": at, "sent_at": at})  # fmt: skip
        if draw.random() < (0.2 if age[who] > 50 else 0.02):
            opened[ids[who]] = min(opened.get(ids[who], date.max), at.date() + timedelta(days=3))
    for who in range(N):  # unasked, a third as many
        if draw.random() < 0.5:
            opened.setdefault(ids[who], start.date() + timedelta(days=int(draw.integers(0, 360))))
    accounts: list[dict[str, object]] = [
        {"account_id": f"A{who}", "product": "current", "currency": "CNY", "opened_on": date(2024, 1, 1)} for who in ids
    ]
    accounts += [{"account_id": f"G{who}", "product": "gold_card", "currency": "CNY", "opened_on": day}
                 for who, day in sorted(opened.items())]  # fmt: skip
    holders: list[dict[str, object]] = [
        {"account_id": row["account_id"], "customer_id": str(row["account_id"])[1:], "role": "owner"}
        for row in accounts
    ]
    products: list[dict[str, object]] = [
        {"product": name, "family": family, "currency": "CNY"}
        for name, family in (("current", "deposit"), ("gold_card", "card"))
    ]
    for name, rows in (("contacts", contacts), ("outcomes", []), ("accounts", accounts), ("holders", holders),
                       ("products", products)):  # fmt: skip
        write_table(source, name, rows)
    if held_out:
        write_table(source, "notes", [{"customer_id": who, "flag": "legacy_control", "at": datetime(2025, 1, 1, tzinfo=UTC)}
                                      for who in ids[:HELD]])  # fmt: skip


def bank(folder: Path, template: Path, *, held_out: bool) -> Home:
    source = folder / "source"
    source.mkdir(parents=True)
    tables(source, held_out=held_out)
    home = prepare_home(folder / "home", template)
    home.catalogue.write_text(CATALOGUE)
    import_tables(home, source)
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, registry_template: Path) -> Home:
    made = bank(tmp_path_factory.mktemp("uplift"), registry_template, held_out=True)
    FeatureStore(made).build(END)
    return made


@pytest.fixture(scope="module")
def said(home: Home) -> TrainAnswer:
    """What `nbo train uplift --promote --predictions ... --json` prints."""
    command = ["uplift", "--promote", "--predictions", str(home.path / "uplift.parquet"), "--json"]
    done = CliRunner().invoke(train_app, command, obj=home.path)
    assert done.exit_code == 0, done.output
    return TrainAnswer.model_validate_json(done.stdout)


def test_the_learners_are_compared_on_later_rows_and_the_control_arm_goes_live(said: TrainAnswer, home: Home) -> None:
    (model,) = said.models
    assert model.name == "organic" and model.live and FROM_HOLDOUT in said.assumptions
    for figure in ("qini_area", "auuc", "average_effect"):
        low, value, high = (model.metrics[f"{figure}{end}"] for end in ("_low", "", "_high"))
        assert low is not None and value is not None and high is not None and low <= value <= high
    assert (model.metrics["average_effect"] or 0) > 0.02
    assert {f"{name}_qini_area" for name in ("t_logistic", "t_lightgbm", "dr", "mean")} <= set(model.metrics)
    units = int(model.metrics["held_out_units"] or 0)  # some opened the product before any contact
    assert 80 <= units <= HELD
    assert any(note.startswith("uplift by `") and f"{units} units held out by lot" in note for note in model.notes)
    (version,) = Registry.open(home.mlflow_uri).versions("organic")
    runs = Path(home.mlflow_uri.removeprefix("sqlite:///")).parent
    assert version.live and list(runs.glob(f"artifacts/uplift/{version.run_id}/artifacts/plots/qini.svg"))


def test_whom_not_to_contact_is_written_for_everybody_who_does_not_hold_it(said: TrainAnswer, home: Home) -> None:
    assert said.models
    rows = pl.read_parquet(home.path / "uplift.parquet")
    assert rows.columns == ["customer_id", "offer_id", "p_organic", "score"]
    assert set(rows["offer_id"]) == {"gold"}  # the bonus opens no account: nothing can be seen of it
    snapshot = FeatureStore(home).newest(END)
    assert snapshot is not None
    held = (
        snapshot.table.column("holds_gold_card").to_pylist() if "holds_gold_card" in snapshot.table.column_names else []
    )
    assert 0 < len(rows) < N and (not held or len(rows) == N - sum(held))
    ages = dict(
        zip(
            snapshot.table.column("customer_id").to_pylist(),
            snapshot.table.column("age_years").to_pylist(),
            strict=True,
        )
    )
    age = np.array([ages[who] for who in rows["customer_id"]])
    score = rows["score"].to_numpy()
    older, younger = score[age > 55], score[age < 45]
    spread = np.sqrt(older.var() / len(older) + younger.var() / len(younger))
    assert older.mean() - younger.mean() > 3 * spread, "contacts help the older"


def test_without_a_holdout_it_says_so_and_writes_nothing(tmp_path: Path, registry_template: Path) -> None:
    home = bank(tmp_path, registry_template, held_out=False)
    done = CliRunner().invoke(train_app, ["uplift", "--json"], obj=home.path)
    answer = json.loads(done.stdout)
    assert done.exit_code == 0 and answer["models"] == [] and NO_HOLDOUT in answer["assumptions"]
    assert NO_HOLDOUT in done.stderr
    wanted = tmp_path / "uplift.csv"
    FeatureStore(home).build(END)
    refused = CliRunner().invoke(train_app, ["uplift", "--predictions", str(wanted)], obj=home.path)
    assert isinstance(refused.exception, DatasetError) and not wanted.exists()
    assert str(refused.exception) == f"no uplift to write: {NO_HOLDOUT}"
    nowhere = CliRunner().invoke(train_app, ["uplift", "--predictions", str(tmp_path / "no" / "x.csv")], obj=home.path)
    assert str(nowhere.exception).endswith("name a file in a folder that exists")
    early = CliRunner().invoke(
        train_app, ["uplift", "--as-of", "2001-01-01T00:00:00Z", "--predictions", str(wanted)], obj=home.path
    )
    assert str(early.exception) == ("no snapshot as of 2001-01-01T00:00:00Z or before says whom to score;"
                                    " run nbo features build --as-of 2001-01-01T00:00:00Z")  # fmt: skip
