import hashlib
import json
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from features.home import Home
from features.store import FeatureStore
from tests.training.small import END
from training.bundle import Manifest, PartNote, write_bundle
from training.calibration import Calibrator
from training.encode import model_features
from training.errors import BundleError, DatasetError, GateError, RegistryError
from training.gate import gate
from training.monitor import watched_scores
from training.score import _schema
from training.scorer import LogisticModel, LogisticScorer, LogisticTerm
from training.supplied import MAX_AGE, Supplied, read_supplied
from training.supply import measure, promote_scores, read_passed, read_scores, withdraw_scores

MADE, FRESH = datetime(2025, 9, 1, tzinfo=UTC), END - timedelta(days=2)
Change = Callable[[pl.DataFrame], pl.DataFrame]


def by_age(home: Home, at: datetime = MADE) -> pl.DataFrame:
    """What the small bank's customers truly do: the older take the card."""
    people = pl.read_parquet(sorted(home.table("customers").glob("part-*.parquet"))).sort("customer_id")
    age = 2026 - people["birth_date"].dt.year().cast(pl.Float64)
    score = (1 / (1 + (-(age - 55) / 6).exp())).alias("score")
    return people.select("customer_id", score, pl.lit(at).cast(pl.Datetime("us", "UTC")).alias("as_of"))


def a_month_on(table: pl.DataFrame) -> pl.DataFrame:
    """The same source later: each customer's odds have moved a little."""
    moved = pl.Series("moved", np.exp(np.random.default_rng(2).normal(0, 0.3, len(table))))
    odds = pl.col("score") / (1 - pl.col("score")) * moved
    return table.with_columns((odds / (1 + odds)).alias("score"))


def put(home: Home, table: pl.DataFrame, family: str = "cards") -> Path:
    path = home.path / "scores" / f"{family}.parquet"
    path.parent.mkdir(exist_ok=True)
    table.write_parquet(path)
    return path


@pytest.fixture
def home(small_bank: Home) -> Home:
    for name in ("scores", "models"):
        for path in (small_bank.path / name).glob("**/*.*"):
            path.unlink()
    return small_bank


def test_good_scores_go_live_and_back(home: Home) -> None:
    """The road of a source: an old table is measured, a fresh one goes live on its word, the next as well."""
    put(home, by_age(home))
    measured = promote_scores(home, "cards", ["card"], live=False)
    assert measured.metrics["auc"] > 0.85  # type: ignore[operator]
    assert read_supplied(home.models) == {}
    path = put(home, a_month_on(by_age(home, FRESH)))
    manifest = promote_scores(home, "cards", ["card"])
    assert manifest.metrics == measured.metrics
    assert manifest.parts["cards"].note == "measured on the scores of 2025-09-01"
    live = Supplied.load(home.models)
    assert live.revisions == {"scores_cards": manifest.dataset}
    assert live.problems(END) == ()
    path.write_bytes(b"something else")  # what is live is a copy
    assert Supplied.load(home.models).revisions == live.revisions
    withdraw_scores(home, "cards")
    assert Supplied.load(home.models).tables == {}
    with pytest.raises(RegistryError, match="no supplied scores of `cards`"):
        withdraw_scores(home, "cards")


def test_stale_scores_are_refused_at_the_door(home: Home) -> None:
    """Mutant: they passed, and the next plan was silent."""
    put(home, by_age(home, END - MAX_AGE - timedelta(days=1)))
    with pytest.raises(
        DatasetError, match="scores of 2026-04-26 are older than 35 days, and serving would fall silent"
    ):
        promote_scores(home, "cards", ["card"])
    assert read_supplied(home.models) == {}


def test_fresh_scores_of_an_unknown_source_wait(home: Home) -> None:
    put(home, by_age(home, FRESH))
    for live in (True, False):
        with pytest.raises(DatasetError, match="supply scores of an earlier day with --measure first"):
            promote_scores(home, "cards", ["card"], live=live)


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: t.with_columns(pl.col("score") ** 3), "psi"),
    (lambda t: t.with_columns(pl.col("customer_id").shuffle(1)), "are the customers mixed up"),
    (lambda t: t.with_columns(customer_id="X" + pl.col("customer_id")), "0 customers are in the scores measured"),
])  # fmt: skip
def test_another_source_is_not_vouched_for(home: Home, change: Change, message: str) -> None:
    put(home, by_age(home))
    promote_scores(home, "cards", ["card"], live=False)
    put(home, change(by_age(home, FRESH)))
    with pytest.raises(GateError, match=message):
        promote_scores(home, "cards", ["card"])
    assert read_supplied(home.models) == {}


@pytest.mark.parametrize("change", [
    lambda t: t.with_columns(score=pl.Series(np.random.default_rng(1).permutation(t["score"].to_numpy()))),  # of somebody else
    lambda t: t.with_columns(score=pl.col("score") / 20),  # far too low
    lambda t: t.with_columns(score=1 - pl.col("score")),
])  # fmt: skip
def test_the_gate_keeps_poor_scores_out(home: Home, change: Change) -> None:
    put(home, change(by_age(home)))
    with pytest.raises(GateError, match=r"`scores of cards` stays out: (auc|ece)"):
        promote_scores(home, "cards", ["card"], live=False)
    assert read_supplied(home.models) == {}
    assert read_passed(home.models) == {}


def test_only_answers_after_the_scores_count(home: Home) -> None:
    """P28: a score made today, knowing all answers, has nothing left to be measured on."""
    all_of = measure(home, read_scores(put(home, by_age(home)), END), ["card"])["rows"]
    later = measure(home, read_scores(put(home, by_age(home, datetime(2026, 1, 1, tzinfo=UTC))), END), ["card"])["rows"]
    assert all_of > later > 0  # type: ignore[operator]
    with pytest.raises(DatasetError, match="0 ripe answers to the family's offers since the scores were made"):
        measure(home, read_scores(put(home, by_age(home, END)), END), ["card"])


def put_interest(home: Home, sign: float, cut: datetime) -> None:
    """A live interest model that follows age: as the customers do, or against them."""
    age = next(feature for feature in model_features(FeatureStore(home).schema) if feature.name == "age_years")
    slope = LogisticTerm(feature="age_years", kind="number", mean=55.0, scale=12.0, weights=(2 * sign,))
    part = LogisticScorer(("age_years",), LogisticModel(intercept=0.0, terms=(slope,)), Calibrator())
    note = PartNote(served="logistic", features=("age_years",))
    manifest = Manifest(name="interest", features=(age,), parts={"pooled": note}, trained_as_of=f"{cut:%FT%TZ}")
    bundle = write_bundle(home.models, manifest, {"pooled": part}, np.asarray([[30.0], [60.0]]))
    (home.models / "live.json").write_text(json.dumps({"interest": bundle.name}))


def coarse(table: pl.DataFrame) -> pl.DataFrame:
    """Scores that rank better than chance and worse than age: the mean for half of the customers."""
    known = pl.Series(np.random.default_rng(5).random(len(table)) < 0.5)
    return table.with_columns(pl.when(known).then("score").otherwise(pl.col("score").mean()).alias("score"))


def test_scores_that_rank_surely_worse_than_interest_stay_out(home: Home) -> None:
    """Mutant: held against chance alone, they take the family from a model that knows it better."""
    put(home, coarse(by_age(home)))
    alone = promote_scores(home, "cards", ["card"], live=False)
    assert "live_gain" not in alone.metrics
    put_interest(home, 1.0, datetime(2025, 12, 1, tzinfo=UTC))
    with pytest.raises(
        GateError, match=r"against the live model `interest`, on rows .*: surely worse; leave the family to it$"
    ):
        promote_scores(home, "cards", ["card"], live=False)
    put_interest(home, -1.0, datetime(2025, 12, 1, tzinfo=UTC))
    better = promote_scores(home, "cards", ["card"], live=False).metrics
    assert (better["live_gain_low"] or 0) > 0 and 100 < (better["live_rows"] or 0) < (better["rows"] or 0)


def test_answers_the_interest_model_has_learned_compare_nothing(home: Home) -> None:
    put(home, coarse(by_age(home)))
    put_interest(home, 1.0, END)
    found = promote_scores(home, "cards", ["card"], live=False)
    assert found.metrics["live_rows"] == 0 and "live_gain" not in found.metrics
    assert "not compared with the live model `interest`: 0 rows, 0 positives" in gate(found)


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: t.drop("score"), "lacks `score`"), (lambda t: t.clear(), "holds no row"),
    (lambda t: pl.concat([t, t.head(3)]), "3 rows repeat a customer_id"),
    (lambda t: t.with_columns(score=pl.col("score") * 2), "are no probability"),
    (lambda t: t.with_columns(score=pl.lit(float("nan"))), "240 scores are no probability"),
    (lambda t: t.with_columns(score=pl.lit(None, pl.Float64)), "240 rows have no `score`"),
    (lambda t: t.with_columns(score=pl.lit("high")), "`score` a number"),
    (lambda t: t.with_columns(pl.col("as_of").dt.replace_time_zone(None)), "an instant with zone"),
    (lambda t: t.with_columns(pl.col("as_of") + pl.duration(days=400)), "240 rows are of an instant still to come"),
])  # fmt: skip
def test_bad_tables_are_one_line(home: Home, change: Change, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        read_scores(put(home, change(by_age(home))), END)
    assert "\n" not in str(caught.value)


def test_no_table_and_no_parquet(home: Home) -> None:
    with pytest.raises(DatasetError, match="is missing; write customer_id, score, as_of there"):
        promote_scores(home, "loans", ["loan"])
    put(home, by_age(home)).write_text("hello")
    with pytest.raises(DatasetError, match="is no Parquet file"):
        promote_scores(home, "cards", ["card"])


def supplied(models: Path, score: dict[str, float]) -> Supplied:
    table = pl.DataFrame({"customer_id": list(score), "score": list(score.values()), "as_of": [MADE] * len(score)})
    return Supplied({"cards": table.with_columns(pl.col("as_of").cast(pl.Datetime("us", "UTC")))}, {})


def test_scores_replace_the_family_and_nothing_else(tmp_path: Path) -> None:
    """Unknown stays unknown: no row, no score - and a closed offer gets none."""
    interest = [[0.1, 0.2, 0.3], [0.1, None, 0.3], [0.1, 0.2, 0.3]]
    fixed = pa.list_(pa.float64(), 3)
    columns = [pa.array(interest, fixed), *(pa.array([[0.5] * f.type.list_size] * 3, f.type) if pa.types.is_fixed_size_list(f.type)
               else pa.array([0.5] * 3) for f in list(_schema(3, 2))[1:])]  # fmt: skip
    scores = pa.RecordBatch.from_arrays(columns, schema=_schema(3, 2))
    customers = pa.RecordBatch.from_pydict({"customer_id": ["A", "B", "C"]})
    found = supplied(tmp_path, {"B": 0.7, "A": 0.6}).over(scores, customers, ["loans", "cards", "cards"])
    assert found.column("p_interest").to_pylist() == [[0.1, 0.6, 0.6], [0.1, None, 0.7], [0.1, None, None]]
    assert found.schema == scores.schema
    assert found.drop_columns("p_interest") == scores.drop_columns("p_interest")
    assert found.slice(1, 2).column("p_interest").to_pylist() == supplied(tmp_path, {"B": 0.7, "A": 0.6}).over(
        scores.slice(1, 2), customers.slice(1, 2), ["loans", "cards", "cards"]).column("p_interest").to_pylist()  # fmt: skip


def test_stale_scores_are_a_problem_to_the_day(tmp_path: Path) -> None:
    live = supplied(tmp_path, {"A": 0.5})
    assert live.problems(MADE + MAX_AGE) == ()
    assert "older than 35 days" in live.problems(MADE + MAX_AGE + timedelta(microseconds=1))[0]
    assert "still to come" in live.problems(MADE - timedelta(seconds=1))[0]


@pytest.mark.parametrize("text", ["no json", "[]", json.dumps({"cards": "../../etc"})])
def test_a_damaged_index_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "supplied.json").write_text(text)
    with pytest.raises(BundleError, match=r"supplied\.json"):
        Supplied.load(tmp_path)


def test_changed_scores_are_refused(home: Home) -> None:
    put(home, by_age(home))
    sha256 = promote_scores(home, "cards", ["card"], live=False).dataset
    (home.models / "supplied.json").write_text(json.dumps({"cards": sha256}))
    (home.models / "supplied" / f"{sha256}.parquet").write_bytes(b"other")
    with pytest.raises(BundleError, match="supplied scores of `cards` are not what was promoted"):
        Supplied.load(home.models)


def go_live(home: Home, *tables: pl.DataFrame) -> None:
    """Tables as passed, the last live: what the gate thought of them then does not matter now."""
    folder, shas = home.models / "supplied", list[str]()
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        text = put(home, table).read_bytes()
        shas.append(hashlib.sha256(text).hexdigest())
        (folder / f"{shas[-1]}.parquet").write_bytes(text)
    (folder / "passed.json").write_text(json.dumps({"cards": shas}))
    (home.models / "supplied.json").write_text(json.dumps({"cards": shas[-1]}))


@pytest.fixture
def cards(home: Home) -> Generator[Home]:
    """A home whose catalogue has the family."""
    home.catalogue.write_text("offers:\n- {id: card, family: cards}\n- {id: loan, family: loans}\n")
    yield home
    home.catalogue.unlink()
    (home.models / "supplied.json").unlink()


def test_own_scores_are_watched_on_those_of_their_day(cards: Home) -> None:
    """A fresh table has no answers yet: the newest that has speaks for its source."""
    go_live(cards, by_age(cards), a_month_on(by_age(cards, datetime(2026, 1, 1, tzinfo=UTC))), by_age(cards, FRESH))
    [state] = watched_scores(cards)
    assert (state.name, state.sha256) == ("scores of cards", read_supplied(cards.models)["cards"])
    assert f"{state.since:%F}" == "2026-01-01" and state.rows >= 100 and state.unmeasured is None
    assert not [line for line in state.alarms if not line.startswith("calibration")]
    assert state.auc is not None and state.auc > 0.85 and state.auc_before is not None


def test_own_scores_that_lost_their_rank_ring(cards: Home) -> None:
    """Mutant: nobody looked at live scores until the next were supplied."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    go_live(cards, by_age(cards), by_age(cards, at).with_columns(pl.col("score").shuffle(1)), by_age(cards, FRESH))
    [state] = watched_scores(cards)
    assert any(
        line.startswith("ranking:") and line.endswith("supply better scores, or --withdraw them")
        for line in state.alarms
    )


def test_own_scores_with_few_answers_are_unmeasured(cards: Home) -> None:
    go_live(cards, by_age(cards, FRESH))
    assert watched_scores(cards)[0].unmeasured == "0 ripe outcomes since 2026-05-30, 100 are needed"
    (cards.models / "supplied" / f"{read_supplied(cards.models)['cards']}.parquet").write_bytes(b"other")
    assert "is not what passed the gate" in watched_scores(cards)[0].alarms[0]
