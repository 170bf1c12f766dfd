import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from mlflow import MlflowClient

from features.home import Home
from tests.training.small import (
    CHANNELS,
    END,
    OFFERS,
    draw_matrix,
    put_live,
    small_booster,
    small_manifest,
    write_small,
)
from training.bundle import Part, write_bundle
from training.challenger import Challenge, Duel, in_challenge, read_challenges
from training.contest import challenge, compare, compared, end_challenge
from training.encode import Feature
from training.errors import BundleError, DatasetError, GateError, RegistryError
from training.promotion import promote
from training.registry import CHALLENGER, CHAMPION, Registry
from training.score import Models
from training.served import Served

SECRET, SINCE = b"s" * 32, datetime(2026, 3, 1, tzinfo=UTC)
UNITS = [f"H{n:05d}" for n in range(20_000)]


def test_the_arm_follows_unit_and_season_alone() -> None:
    arm = in_challenge(SECRET, "interest", "2026H1", UNITS, 0.1)
    assert abs(arm.mean() - 0.1) < 0.01
    np.testing.assert_array_equal(in_challenge(SECRET, "interest", "2026H1", UNITS[::-1], 0.1)[::-1], arm)
    wider = in_challenge(SECRET, "interest", "2026H1", UNITS, 0.2)
    assert (wider | ~arm).all()  # a larger share keeps those it had
    for other in (in_challenge(SECRET, "interest", "2026H2", UNITS, 0.1), in_challenge(SECRET, "reach", "2026H1", UNITS, 0.1),
                  in_challenge(b"t" * 32, "interest", "2026H1", UNITS, 0.1)):  # fmt: skip
        assert abs((arm & other).mean() - 0.01) < 0.005


def duel(models: Path, share: float = 0.3) -> Duel:
    rival = write_small(models, "interest", seed=9)
    made = {"interest": {"sha256": rival.name, "share": share, "season": "2026H1"}}
    (models / "challengers.json").write_text(json.dumps(made))
    return Duel.load(models, Models.load(models), SECRET)


def test_each_unit_has_its_own_model(live: Path, customers: pa.Table) -> None:
    """Columns of no challenger stay the champion's; a mutant that scores everybody with either is seen."""
    found = duel(live)
    units = [f"H{n // 2:03d}" for n in range(40)]
    asked = customers.append_column("unit_id", pa.array(units)).combine_chunks().to_batches()[0]
    arguments = (np.ones((40, 6), dtype=bool), OFFERS, ("cards", "loans"), CHANNELS)
    scores, champion, rival = (m.score(asked, *arguments) for m in (found, found.champions, found.challengers))
    arm = in_challenge(SECRET, "interest", "2026H1", units, 0.3)
    assert 0 < arm.sum() < 40
    for row, mine in enumerate(arm.tolist()):
        assert scores.column("p_interest")[row] == (rival if mine else champion).column("p_interest")[row]
    assert champion.column("p_interest") != rival.column("p_interest")
    assert scores.drop_columns("p_interest") == champion.drop_columns("p_interest")
    assert found.revisions == {"challenger_interest": found.challenges["interest"].sha256}
    (live / found.challenges["interest"].sha256 / "golden.json").write_text("{}")
    with pytest.raises(BundleError):
        Duel.load(live, found.champions, SECRET)


@pytest.mark.parametrize("text", ["no json", "[]", '{"interest": {"sha256": "../x", "share": 0.1, "season": "s"}}',
                                  '{"value": {"sha256": "%s", "share": 0.1, "season": "s"}}' % ("0" * 64)])  # fmt: skip
def test_files_that_are_no_challenge(tmp_path: Path, text: str) -> None:
    (tmp_path / "challengers.json").write_text(text)
    with pytest.raises(BundleError, match=r"challengers\.json"):
        read_challenges(tmp_path)


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-1, 1, n)))
    return np.repeat(np.arange(n // 2), 2).astype(str), (rng.random(n) < p).astype(float), p


def laid(owners: np.ndarray, label: np.ndarray, champion: np.ndarray, challenger: np.ndarray) -> Served:
    n, scores = len(label), {"champion": champion, "challenger": challenger}
    return Served(owners, np.full(n, ""), label, scores, np.ones(n), np.zeros(n, np.int64))


def test_the_better_model_wins_and_an_equal_one_does_not() -> None:
    owners, label, p = rows(2_000, 1)
    blunt = np.full(len(p), p.mean())
    arm = in_challenge(SECRET, "interest", "s", owners.tolist(), 0.5)
    won = compared("interest", SINCE, laid(owners, label, blunt, p), "champion", arm)
    assert won.gain_low > 0
    assert sum(won.rows) == 2_000
    lost = compared("interest", SINCE, laid(owners, label, p, blunt), "champion", arm)
    assert lost.gain_high < 0
    assert compared("interest", SINCE, laid(owners, label, p, p), "champion", arm).gain == 0.0


def test_a_sample_compares_as_all_rows_do() -> None:
    """Every second refusal is left out, the others stand for two."""
    owners, label, p = rows(8_000, 3)
    whole, blunt = laid(owners, label, np.full(len(p), p.mean()), p), np.arange(8_000) % 2 == 0
    kept = (label > 0) | (np.arange(8_000) // 2 % 2 == 0)
    part = Served(owners[kept], whole.items[kept], label[kept], {key: s[kept] for key, s in whole.scores.items()},
                  np.where(label[kept] > 0, 1.0, 2.0), whole.at[kept])  # fmt: skip
    found, sampled = (
        compared("interest", SINCE, one, "champion", arm) for one, arm in ((whole, blunt), (part, blunt[kept]))
    )
    assert sampled.gain == pytest.approx(found.gain, abs=0.01)
    assert sampled.rates == pytest.approx(found.rates, abs=0.02)
    bare = compared("interest", SINCE, replace(part, weight=np.ones(int(kept.sum()))), "champion", blunt[kept])
    assert abs(bare.rates[0] - found.rates[0]) > 0.05  # type: ignore[operator]


def test_the_rate_of_each_arm_covers_no_difference() -> None:
    """In 200 contests of equal models the interval of the rates covers 0 in 92 to 98 %."""
    covered = 0
    for seed in range(200):
        owners, label, p = rows(600, seed)
        found = compared(
            "interest",
            SINCE,
            laid(owners, label, p, p),
            "champion",
            in_challenge(SECRET, "interest", str(seed), owners.tolist(), 0.5),
        )
        covered += found.rate_gain_low <= 0 <= found.rate_gain_high  # type: ignore[operator]
    assert 0.92 <= covered / 200 <= 0.98


def challenged(home: Home, started_at: datetime | None) -> None:
    rival, _ = put_live(home, 0.4), put_live(home, 0.5)
    made = Challenge(sha256=rival, share=0.4, season="s", started_at=started_at)
    (home.models / "challengers.json").write_text(json.dumps({"reach": made.model_dump(mode="json")}))


def test_only_what_was_decided_since_the_challenge_began_is_compared(small_bank: Home) -> None:
    """Mutant: counted since the champion was trained, minutes after its start a challenge is won."""
    began, later = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 4, 15, tzinfo=UTC)
    challenged(small_bank, began)
    found = compare(small_bank, "reach")
    assert found.since == began
    assert compare(small_bank, "reach", SINCE) == found
    assert sum(compare(small_bank, "reach", later).rows) < sum(found.rows)
    challenged(small_bank, END)
    with pytest.raises(
        DatasetError, match="0 ripe outcomes of decisions since 2026-06-01, where the comparison begins"
    ):
        compare(small_bank, "reach", SINCE)
    challenged(small_bank, datetime(2026, 1, 1, tzinfo=UTC))
    assert compare(small_bank, "reach").since == SINCE  # both were trained to it


def test_a_challenge_whose_start_nobody_kept_is_told_when(small_bank: Home) -> None:
    challenged(small_bank, None)
    with pytest.raises(
        DatasetError, match="since when model `reach` is challenged was not recorded; give that day as --since"
    ):
        compare(small_bank, "reach")
    assert compare(small_bank, "reach", datetime(2026, 4, 1, tzinfo=UTC)).since == datetime(2026, 4, 1, tzinfo=UTC)


def test_too_little_to_compare() -> None:
    owners, label, p = rows(40, 1)
    with pytest.raises(
        DatasetError,
        match="40 ripe outcomes of decisions since 2026-03-01, where the comparison begins, 100 are needed",
    ):
        compared("interest", SINCE, laid(owners, label, p, p), "champion", np.zeros(40, dtype=bool))


def test_the_road_of_a_challenger(new_home: Callable[[str], Home], tmp_path: Path) -> None:
    """Promoted champion, challenger through the same gate, ended again; bad arguments are one line each."""
    home = new_home("contest")
    registry = Registry.open(home.mlflow_uri)
    for seed in (1, 5):
        registry.log(write_small(tmp_path / str(seed), "interest", seed), {"seed": seed}, {})
    with pytest.raises(RegistryError, match="is not live"):
        challenge(home, "interest", "2", 0.1, "2026H1")
    promote(home, "interest", "1")
    with pytest.raises(RegistryError, match="version 1 of `interest` is the live one"):
        challenge(home, "interest", "1", 0.1, "2026H1")
    made = challenge(home, "interest", "2", 0.1, "2026H1")
    assert read_challenges(home.models) == {"interest": made}
    assert made.started_at == home.now()
    earlier = made.model_copy(update={"started_at": SINCE})
    (home.models / "challengers.json").write_text(json.dumps({"interest": earlier.model_dump(mode="json")}))
    assert challenge(home, "interest", "2", 0.1, "2026H1") == earlier  # the same once more goes on
    assert challenge(home, "interest", "2", 0.2, "2026H1").started_at == home.now()
    made = challenge(home, "interest", "2", 0.1, "2026H1")
    client = MlflowClient(tracking_uri=home.mlflow_uri, registry_uri=home.mlflow_uri)
    aliases = lambda: {key: int(value) for key, value in client.get_registered_model("interest").aliases.items()}
    assert aliases() == {CHAMPION: 1, CHALLENGER: 2}
    assert Duel.load(home.models, Models.load(home.models), SECRET).revisions == {"challenger_interest": made.sha256}
    for share in (0.0, 0.7):
        with pytest.raises(DatasetError, match="--share"):
            challenge(home, "interest", "2", share, "2026H1")
    with pytest.raises(RegistryError, match="can be challenged"):
        challenge(home, "value", "1", 0.1, "2026H1")
    context = Feature(name="offer", kind="enum", domain=OFFERS)
    poor = {"pooled": small_booster(3, ("offer",))}
    figures: dict[str, float | None] = {"auc": 0.5, "auc_low": 0.45, "auc_high": 0.55, "logistic_auc": 0.5, "ece": 0.02}
    registry.log(
        write_bundle(
            tmp_path / "poor", small_manifest("interest", dict(poor), context, figures), dict(poor), draw_matrix(5)
        ),
        {"seed": 3},
        {},
    )
    with pytest.raises(GateError, match="auc"):
        challenge(home, "interest", "3", 0.1, "2026H1")
    end_challenge(home, "interest")
    assert read_challenges(home.models) == {}
    assert aliases() == {CHAMPION: 1}
    with pytest.raises(RegistryError, match="nobody challenges"):
        end_challenge(home, "interest")
    with pytest.raises(RegistryError, match="nobody challenges"):
        compare(home, "interest", SINCE)


def test_a_challenger_of_an_earlier_cut_stays_out(new_home: Callable[[str], Home], tmp_path: Path) -> None:
    """Mutant: judged without what is live, a version that may not be promoted decides for half the units."""
    home = new_home("contest")
    registry = Registry.open(home.mlflow_uri)
    parts: dict[str, Part] = {"churn": small_booster()}
    for cut in ("2026-06-01T00:00:00Z", "2026-03-01T00:00:00Z"):
        manifest = small_manifest("churn", parts).model_copy(update={"trained_as_of": cut})
        registry.log(write_bundle(tmp_path / "drafts", manifest, parts, draw_matrix(4)), {"as_of": cut}, {})
    promote(home, "churn", "1", registry)
    with pytest.raises(GateError, match="cut at 2026-03-01T00:00:00Z, before the live version's 2026-06-01T00:00:00Z"):
        challenge(home, "churn", "2", 0.5, "2026H1")
    assert read_challenges(home.models) == {}


def test_a_challenge_is_plain() -> None:
    assert Challenge(sha256="a" * 64, share=0.5, season="s").share == 0.5
