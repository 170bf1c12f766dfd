from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from simulation.errors import SimulationError
from simulation.truth import Prices, Truth, annoyance_after, read_truth, score
from simulation.world import CHANNEL_IDS, N_CHANNELS, N_OFFERS, OFFER_IDS, RETENTION


def decisions_of(truth: Truth, cells: np.ndarray) -> pa.Table:
    offers = [OFFER_IDS[c // N_CHANNELS] if c >= 0 else None for c in cells]
    channels = [CHANNEL_IDS[c % N_CHANNELS] if c >= 0 else None for c in cells]
    return pa.table({
        "customer_id": truth.customer_id,
        "offer_id": pa.array(offers, pa.string()),
        "channel": pa.array(channels, pa.string()),
    })  # fmt: skip


@pytest.fixture(scope="module")
def truth(tables: Any) -> Truth:
    return read_truth(tables.bank.directory)


@pytest.fixture
def hand() -> Truth:
    """Two customers with round numbers: one answers, one has left."""

    def both(values: list[float]) -> np.ndarray:
        return np.array([values, [0.0] * len(values)])

    accept, organic = [0.0] * N_OFFERS, [0.0] * N_OFFERS
    accept[0], organic[0], accept[RETENTION] = 0.5, 0.1, 0.4
    return Truth(
        pa.array(["C1", "C2"]), np.array([True, False]), both([0.5, 0.0, 0.0, 0.0, 0.0]),
        both(accept), both(organic), both([0.01, 0.0, 0.0, 0.0, 0.0]), np.array([0.2, 0.0]),
        np.array([10_000.0, 0.0]), np.zeros(2), np.zeros(2),
    )  # fmt: skip


PRICES = Prices(np.full(N_OFFERS, 1_000.0), np.full(N_CHANNELS, 30.0), 0.5)


def test_value_of_a_cell_by_hand(hand: Truth) -> None:
    value = hand.values_minor(PRICES)
    # 0.5 (0.5 - 0.1) 1000 - 30 - 0.01 x 10000
    assert value[0, 0] == pytest.approx(70.0)
    # 0.5 x 0.4 x 1000 - 30 - 100 + 0.5 x 0.4 x 0.2 x 10000 x 0.5
    assert value[0, RETENTION * N_CHANNELS] == pytest.approx(270.0)
    assert (value[1] == -30.0).all()


def test_score_by_hand(hand: Truth) -> None:
    said = score(hand, decisions_of(hand, np.array([0, -1])), prices=PRICES)
    assert (said.customers, said.contacts) == (2, 1)
    assert said.profit_minor == pytest.approx(70.0)
    assert said.best_minor == pytest.approx(270.0)
    assert said.regret_minor == pytest.approx(200.0)
    assert said.share_of_best == pytest.approx(70 / 270)


def test_best_is_taken_among_open_cells_only(hand: Truth) -> None:
    open_cells = np.ones((2, N_OFFERS * N_CHANNELS), dtype=np.bool_)
    open_cells[:, RETENTION * N_CHANNELS] = False
    said = score(hand, decisions_of(hand, np.array([0, -1])), open_cells, PRICES)
    assert said.share_of_best == pytest.approx(1.0)


def test_the_best_cells_have_no_regret_and_chance_has(truth: Truth) -> None:
    value = truth.values_minor()
    best = np.where(value.max(axis=1) > 0, value.argmax(axis=1), -1)
    assert score(truth, decisions_of(truth, best)).share_of_best == pytest.approx(1.0)
    chance = np.random.default_rng(0).integers(0, value.shape[1], len(truth))
    assert score(truth, decisions_of(truth, chance)).share_of_best < 0.2
    silence = score(truth, decisions_of(truth, np.full(len(truth), -1)))
    assert silence.profit_minor == 0
    assert 0.02 < (best == -1).mean() < 0.6


def test_probabilities_lie_between_0_and_1(truth: Truth) -> None:
    for p in (truth.p_reached, truth.p_accept, truth.p_organic, truth.p_harm, truth.p_churn):
        assert ((p >= 0) & (p <= 1)).all()
        assert (p[~truth.active] == 0).all()
        assert len(np.unique(p)) > 1_000


def test_some_contacts_do_harm_and_some_only_repeat_what_happens_anyway(truth: Truth) -> None:
    uplift = truth.uplift()[truth.active]
    assert (uplift < 0).any()
    assert (uplift > 0.1).any()


def test_annoyance_fades_by_half_in_thirty_days(truth: Truth) -> None:
    after = annoyance_after(np.array([1.0, 1.0]), np.array([0, -1]), 30.0)
    assert after.tolist() == [1.0, 0.5]


def test_p_harm_at_the_present_annoyance_is_p_harm(truth: Truth) -> None:
    np.testing.assert_allclose(truth.p_harm_at(truth.annoyance), truth.p_harm)
    assert (truth.p_harm_at(truth.annoyance + 1) >= truth.p_harm).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"customer_id": ["C1", "C9"]}, "1 customers are not in the truth; score the same bank"),
        (
            {"customer_id": ["C1", "C1"]},
            "decisions name a customer twice; give one row per customer",
        ),
        ({"channel": [None, None]}, "a decision has an offer without a channel; name the channel"),
        (
            {"channel": ["fax", None]},
            "1 decisions name an unknown channel; expected one of sms, email, app, call, branch",
        ),
    ],
)
def test_bad_decisions_are_refused(hand: Truth, change: dict[str, Any], message: str) -> None:
    table = decisions_of(hand, np.array([0, -1])).to_pydict() | change
    schema = pa.schema([(name, pa.string()) for name in table])
    with pytest.raises(SimulationError) as error:
        score(hand, pa.table(table, schema=schema))
    assert str(error.value) == message


def test_a_folder_without_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="has no truth/customers; point to a simulated bank"):
        read_truth(tmp_path)
