from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.training.logs import TARGET_VALUE, draw
from training.errors import DatasetError
from training.offpolicy import Sample, SupportError, effective_sample_size, value_of

Change = Callable[[Sample], Sample]


def sample(seed: int, n_units: int = 700, per_unit: int = 3) -> Sample:
    log = draw(seed, n_units, per_unit)
    return Sample(log["unit"], log["reward"], log["p_log"], log["p_policy"], log["q_chosen"], log["q_policy"])


def coverage(seeds: range, change: Change = lambda s: s, n_units: int = 700) -> dict[str, float]:
    """Share of simulations whose interval covers the truth, by method; a refused one covers nothing."""
    hits = dict.fromkeys(("ips", "snips", "dr"), 0)
    for seed in seeds:
        try:
            values = value_of(change(sample(seed, n_units))).values
        except SupportError:
            continue
        for name, found in values.items():
            hits[name] += found.low <= TARGET_VALUE <= found.high
    return {name: hit / len(seeds) for name, hit in hits.items()}


def test_by_hand() -> None:
    """Two decisions: w = 2 and 0.5, so IPS = (2 + 0) / 2, SNIPS = 2 / 2.5; q adds 0.25 to each."""
    n = 400
    rows = Sample(np.arange(n).astype(str), np.tile([1.0, 0.0], n // 2), np.tile([0.4, 0.8], n // 2),
                  np.tile([0.6, 0.4], n // 2), np.full(n, 0.5), np.full(n, 0.75))  # fmt: skip
    found = value_of(rows)
    assert found.values["ips"].value == pytest.approx(0.75)
    assert found.values["snips"].value == pytest.approx(0.75)
    assert found.values["dr"].value == pytest.approx(np.mean([0.75 + 1.5 * 0.5, 0.75 - 0.5 * 0.5]))
    assert found.ess == pytest.approx((n / 2 * 2.0) ** 2 / (n / 2 * (1.5**2 + 0.5**2)))
    assert found.logged.value == 0.5


def test_the_intervals_cover_the_truth() -> None:
    """200 logs of 700 households; with the rows of a household taken for independent it is caught below."""
    for name, share in coverage(range(200)).items():
        assert 0.92 <= share <= 0.98, (name, share)


@pytest.mark.long
def test_the_intervals_cover_the_truth_in_five_thousand_logs() -> None:
    for name, share in coverage(range(1_000, 6_000)).items():
        assert 0.94 <= share <= 0.96, (name, share)


def test_rows_of_a_household_are_not_independent() -> None:
    """The mutant: each decision its own unit. Its intervals are too narrow to be 95 %."""
    alone: Change = lambda s: replace(s, units=np.arange(len(s.units)).astype(str))
    narrow, right = value_of(alone(sample(1, per_unit=20))), value_of(sample(1, per_unit=20))
    assert narrow.logged.standard_error < 0.8 * right.logged.standard_error


def test_doubly_robust_is_narrower_and_right_with_a_poor_model() -> None:
    found = value_of(sample(3, 3_000)).values
    assert found["dr"].standard_error < found["ips"].standard_error
    poor = replace(sample(3, 3_000), q_chosen=np.full(9_000, 0.9), q_policy=np.full(9_000, 0.9))
    far = value_of(poor).values["dr"]
    assert far.low <= TARGET_VALUE <= far.high


@pytest.mark.parametrize("wrong", [
    lambda s: replace(s, p_log=np.clip(s.p_log * 1.3, 0, 1)),
    lambda s: replace(s, p_log=s.p_log**0.5),
])  # fmt: skip
def test_wrong_probabilities_are_caught(wrong: Change) -> None:
    """The mutant of a log whose p_log is not what it drew with."""
    with pytest.raises(SupportError, match="wrong probabilities"):
        value_of(wrong(sample(5)))


def test_a_log_said_to_be_uniform_does_not_cover() -> None:
    """A mutant whose weights happen to average 1: in longer logs its bias shows, and the table's own check sees it."""
    uniform: Change = lambda s: replace(s, p_log=np.full_like(s.p_log, 0.25))
    assert coverage(range(40), uniform, 14_000)["ips"] < 0.5 < 0.9 < coverage(range(40), n_units=14_000)["ips"]


def test_too_few_effective_decisions() -> None:
    log = sample(2, 60)
    assert effective_sample_size(log.p_policy / log.p_log) < 200
    with pytest.raises(SupportError, match=r"no support: \d+ effective of 180 decisions, 200 are needed"):
        value_of(log)


def test_clipping_is_declared() -> None:
    log = sample(4)
    most = float((log.p_policy / log.p_log).max())
    with pytest.raises(SupportError, match=r"of the weights are above --clip 2"):
        value_of(log, clip=2)
    found = value_of(log, clip=most + 1)
    assert (found.clip, found.clipped_share) == (most + 1, 0.0)
    assert found.values == value_of(log).values
    assert "clipped at" in found.notes[0]


def test_few_rewards_are_said() -> None:
    log = sample(6)
    found = value_of(replace(log, reward=np.where(np.arange(len(log.reward)) < 20, log.reward, 0.0)))
    assert "effective rewarded decisions" in found.notes[0]


@pytest.mark.parametrize(("wrong", "message"), [
    (lambda s: replace(s, reward=np.full_like(s.reward, np.nan)), "`reward` must hold 2100 finite numbers"),
    (lambda s: replace(s, p_log=s.p_log[:3]), "`p_log` must hold 2100 finite numbers"),
    (lambda s: replace(s, p_log=np.zeros_like(s.p_log)), "probabilities must lie in"),
    (lambda s: replace(s, p_policy=s.p_policy + 1), "probabilities must lie in"),
    (lambda s: replace(s, q_policy=None), "both `q_chosen` and `q_policy`"),
    (lambda s: replace(s, units=np.full(len(s.units), "one")), "fewer than two units"),
])  # fmt: skip
def test_bad_input_is_one_line(wrong: Change, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        value_of(wrong(sample(1)))
    assert "\n" not in str(caught.value)


def test_a_clip_below_one_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"--clip 0\.5"):
        value_of(sample(1), clip=0.5)
