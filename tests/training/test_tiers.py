from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from training import tiers
from training.atomic import write_atomically
from training.tiers import Tiers, forget, tier_table, write_tiers
from training.value import ValueModel, churn_interval, forecast_interval

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
MODEL = ValueModel(annual_churn=0.1, annual_churn_low=0.08, annual_churn_high=0.12, forecast_low=0.5, forecast_high=2.0)


def people(n: int) -> pl.DataFrame:
    return pl.DataFrame({"customer_id": [f"K{i:03d}" for i in reversed(range(n))], "kind": ["person"] * n,
                         "age_years": [25.0 if i % 2 else 50.0 for i in range(n)], "salary_sum_90d": [3e6] * n})  # fmt: skip


def made(n: int = 200) -> pl.DataFrame:
    contribution = np.arange(n, dtype=np.float64) * 1000 + 1
    contribution[5] = np.nan
    return tier_table(people(n), contribution, MODEL, AS_OF, "CNY")


def test_tiers_are_shares_of_the_bank_and_null_for_the_unknown() -> None:
    rows = made()
    counts = dict(rows["tier"].value_counts().iter_rows())
    assert counts == {"top": 10, "high": 30, "middle": 60, "base": 99, None: 1}
    ordered = rows.drop_nulls("tier").sort("contribution_minor")["tier"].to_list()
    assert ordered == ["base"] * 99 + ["middle"] * 60 + ["high"] * 30 + ["top"] * 10


def test_equal_customers_have_equal_tiers() -> None:
    rows = tier_table(people(50), np.full(50, 700.0), MODEL, AS_OF, "CNY")
    assert rows["tier"].n_unique() == 1 and rows["potential"].n_unique() == 1


def test_potential_is_apart_from_the_present_and_measured_against_peers() -> None:
    rows = made()
    poor, rich = rows.drop_nulls("tier").sort("contribution_minor")[[0, -1]].to_dicts()
    assert (poor["tier"], poor["potential"]) == ("base", "large")
    assert (rich["tier"], rich["potential"]) == ("top", "little")
    young = [1000 * i + 1 for i in range(200) if i % 2 and i != 5]
    mine = rows.filter(pl.col("contribution_minor") == 1001)["peers_minor"].item()
    assert mine == round(float(np.quantile(young, 0.75, method="nearest")))
    assert "brings 0.01 CNY a year" in poor["why"] and "45 to 59, salary step 2" in poor["why"]


def test_lifetime_value_lies_in_its_interval_and_a_surer_bank_has_a_narrower_one() -> None:
    rows = made().drop_nulls("tier")
    assert (rows["lifetime_low_minor"] <= rows["lifetime_value_minor"]).all()
    assert (rows["lifetime_value_minor"] <= rows["lifetime_high_minor"]).all()
    sure = tier_table(people(200), np.full(200, 1e5), ValueModel(annual_churn=0.1), AS_OF, "CNY").row(0, named=True)
    wide = tier_table(people(200), np.full(200, 1e5), MODEL, AS_OF, "CNY").row(0, named=True)
    assert sure["lifetime_low_minor"] == sure["lifetime_high_minor"] == sure["lifetime_value_minor"]
    assert (
        wide["lifetime_low_minor"]
        < 0.5 * sure["lifetime_low_minor"]
        < sure["lifetime_high_minor"]
        < wide["lifetime_high_minor"]
    )


def test_a_file_of_tiers_is_read_by_customer_and_only_whole(tmp_path: Path) -> None:
    sha = write_tiers(tmp_path, made())
    assert write_tiers(tmp_path, made()) == sha
    tiers = Tiers.load(tmp_path, sha)
    assert tiers is not None
    assert tiers.of(["K000", "K199", "K194", "K", "Z"]) == ["top", "base", None, None, None]
    row = tiers.row("K000")
    assert row is not None and row["as_of"] == AS_OF and tiers.row("K") is None
    file = tmp_path / "tiers" / f"{sha}.arrow"
    file.write_bytes(file.read_bytes().replace(b"top", b"tap"))
    assert Tiers.load(tmp_path, sha) is None and Tiers.load(tmp_path, "") is None


def test_intervals_cover_the_rate_and_the_middle_of_what_came() -> None:
    rng = np.random.default_rng(2)
    seen = np.full(3000, 12.0)
    low, high = churn_interval(rng.binomial(12, 0.01, 3000).astype(np.float64), seen, 60, 1)
    assert low < 1 - 0.99 ** (365 / 60) < high < low + 0.02
    foretold = rng.uniform(1, 9, 5000)
    found = forecast_interval(foretold, foretold * rng.uniform(0.5, 1.5, 5000))
    assert found == pytest.approx((0.6, 1.4), abs=0.02)
    assert forecast_interval(foretold[:40], foretold[:40]) is None


def test_p26_whoever_is_erased_is_in_no_file_and_the_others_keep_their_tiers(tmp_path: Path) -> None:
    shas = [write_tiers(tmp_path, made()), write_tiers(tmp_path, made(150))]
    before = Tiers.load(tmp_path, shas[0])
    assert before is not None and before.of(["K000", "K001"]) == ["top", "top"]
    assert [forget(tmp_path, name) for name in ("K000", "K199", "K199", "stranger")] == [2, 1, 0, 0]
    now = [Tiers.load(tmp_path, sha) for sha in shas]
    assert now[0] is not None and now[1] is not None
    assert now[0].of(["K000", "K001", "K199"]) == [None, "top", None] and now[1].row("K000") is None
    files = list((tmp_path / "tiers").iterdir())
    assert not any(b"K000" in file.read_bytes() or b"K199" in file.read_bytes() for file in files)
    assert {file.suffix for file in files} == {".arrow", ".now"} and len(
        list((tmp_path / "tiers").glob("*.arrow"))
    ) == 2


@pytest.mark.parametrize("step", [1, 2])
def test_p26_an_erasure_that_is_stopped_halfway_leaves_readable_tiers_and_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    sha, writes = write_tiers(tmp_path, made()), iter(range(1, 9))

    def stopping(path: Path, text: bytes) -> None:
        if next(writes) == step:
            raise KeyboardInterrupt
        write_atomically(path, text)

    monkeypatch.setattr(tiers, "write_atomically", stopping)
    with pytest.raises(KeyboardInterrupt):
        forget(tmp_path, "K000")
    between = Tiers.load(tmp_path, sha)
    assert between is not None and between.of(["K001"]) == ["top"]
    monkeypatch.undo()
    assert forget(tmp_path, "K000") == 1
    after = Tiers.load(tmp_path, sha)
    assert after is not None and after.of(["K000", "K001"]) == [None, "top"]
    assert not any(b"K000" in file.read_bytes() for file in (tmp_path / "tiers").iterdir())


def test_tiers_that_were_changed_by_hand_are_none(tmp_path: Path) -> None:
    sha = write_tiers(tmp_path, made())
    forget(tmp_path, "K000")
    [file] = (tmp_path / "tiers").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert Tiers.load(tmp_path, sha) is None
