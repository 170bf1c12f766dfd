"""Values and choices: the formula cell by cell, ties, limits, and the way they are computed in chunks."""

import numpy as np
import pyarrow as pa
import pytest

from rules import arbitrate as room
from rules import chunks
from rules.arbitrate import Choice, arbitrate, cell_values
from rules.errors import SchemaError
from rules.suppress import suppress
from rules.terms import Exploration, Terms
from tests import bank
from tests.oracle import value

PRICES = tuple(range(0, 50 * 400, 400))


def assert_equal(left: Choice, right: Choice) -> None:
    for name, found in vars(left).items():
        assert np.array_equal(found, getattr(right, name)), name


@pytest.mark.parametrize("prices", [(), PRICES])
def test_the_value_of_every_cell_equals_the_oracles(prices: tuple[int, ...]) -> None:
    terms = bank.terms(prices=prices)
    scores = bank.scores(terms, 40, seed=3)
    found = cell_values(bank.scores_batch(terms, scores), terms)
    for row, given in enumerate(scores):
        for cell in range(terms.catalogue.n_cells):
            want = value(cell, terms, given)
            assert found.known[row, cell] == (want is not None)
            assert (found.minor[row, cell], found.gross[row, cell]) == (want or (0, 0))


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_chunks_of_any_size_choose_alike(size: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = bank.terms(prices=PRICES, exploration=Exploration(share, 50_000))
    customers = bank.customers_batch(terms, bank.population(terms, 150, seed=1))
    scores, found = bank.scores_batch(terms, bank.scores(terms, 150, seed=2)), suppress(customers, terms)
    whole = arbitrate(customers, scores, found, terms)
    monkeypatch.setattr(room, "CHUNK", size)
    monkeypatch.setattr(chunks, "N_THREADS", 2)
    assert_equal(arbitrate(customers, scores, found, terms), whole)
    assert_equal(arbitrate(customers.slice(5), scores.slice(5), suppress(customers.slice(5), terms), terms),
                 Choice(**{name: column[5:] for name, column in vars(whole).items()}))  # fmt: skip


@pytest.mark.parametrize("prices", [(), PRICES])
@pytest.mark.parametrize("unknown", [0.0, 0.02])
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_p15_cell_by_cell_and_all_at_once_choose_alike(
    prices: tuple[int, ...], unknown: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of all cells is the reference; mutants caught: `>=` for a tie, a save rate that is no retention offer's."""
    terms = bank.terms(prices=prices, exploration=Exploration(share, 50_000))
    customers = bank.customers_batch(terms, bank.population(terms, 300, seed=4))
    given = bank.scores(terms, 300, seed=6, unknown=unknown)
    for row in given[::9]:  # a value beyond all money among them, and ties
        row |= {"p_harm": [0.0] * 5, "p_organic": [0.0] * 10, "p_reach": [1.0] * 5}
    given[5] |= {"lifetime_value_minor": 1e40, "p_harm": [-1.0] * 5}
    scores, found = bank.scores_batch(terms, given), suppress(customers, terms)
    answers: list[Choice] = []
    for few in (0, 10**9):
        monkeypatch.setattr(room, "FEW", few)
        answers.append(arbitrate(customers, scores, found, terms))
    assert_equal(*answers)
    assert (answers[0].cell >= 0).any()
    assert answers[0].explored.any() == (share > 0)


def test_the_worth_is_rounded_before_the_price_is_taken_away() -> None:
    """At an exact half the other order gives 0 for -1; lists, answers and the oracle must say the same."""
    catalogue = bank.catalogue().model_copy(update={
        "offers": tuple(o.model_copy(update={"margin_minor": 1, "save_rate": None}) for o in bank.catalogue().offers),
        "channels": tuple(c.model_copy(update={"cost_minor": 0}) for c in bank.catalogue().channels)})  # fmt: skip
    terms = bank.terms(catalogue=catalogue, prices=(1,) * 50)
    row = bank.scores(terms, 1, seed=1, unknown=0.0)[0] | {
        "p_interest": [0.5, 2.5] * 5, "p_organic": [0.0] * 10, "p_reach": [1.0] * 5, "p_harm": [0.0] * 5}  # fmt: skip
    found = cell_values(bank.scores_batch(terms, [row]), terms)
    assert (found.minor[0, 0], found.gross[0, 0], found.minor[0, 5], found.gross[0, 5]) == (-1, 0, 1, 2)
    assert [value(cell, terms, row) for cell in (0, 5)] == [(-1, 0), (1, 2)]


def lone(terms: Terms, **given: float) -> Choice:
    customers = bank.customers_batch(terms, [bank.welcome(terms)])
    scores = bank.scores(terms, 1, seed=1, unknown=0.0)[0]
    scores |= {
        name: [number] * len(scores[name]) if isinstance(scores[name], list) else number
        for name, number in given.items()
    }
    return arbitrate(customers, bank.scores_batch(terms, [scores]), suppress(customers, terms), terms)


def test_ties_go_to_the_lower_cell() -> None:
    terms = bank.terms()
    choice = lone(terms, p_interest=0.5, p_organic=0.0, p_reach=1.0, p_harm=0.0)
    values = cell_values(bank.scores_batch(terms, [{"p_interest": [0.5] * 10, "p_organic": [0.0] * 10, "p_reach": [1.0] * 5, "p_harm": [0.0] * 5,
                                                    "p_churn": 0.1, "lifetime_value_minor": 1.0}]), terms).minor[0]  # fmt: skip
    assert choice.minor[0] == values.max()
    same = bank.terms(catalogue=terms.catalogue.model_copy(update={
        "offers": tuple(o.model_copy(update={"margin_minor": 1000, "save_rate": None}) for o in terms.catalogue.offers),
        "channels": tuple(c.model_copy(update={"cost_minor": 0}) for c in terms.catalogue.channels)}))  # fmt: skip
    assert lone(same, p_interest=0.5, p_organic=0.0, p_reach=1.0, p_harm=0.0).cell[0] == 0


def test_silence_is_worth_nothing_and_is_chosen_where_all_else_costs() -> None:
    choice = lone(bank.terms(), p_interest=0.0, p_churn=0.0)
    assert (choice.cell[0], choice.minor[0], choice.p_chosen[0]) == (-1, 0, 1.0)
    assert choice.scored[0]
    assert not choice.wanted[0]


def test_a_value_beyond_all_money_is_never_chosen() -> None:
    for lifetime in (float("inf"), 1e40):
        assert lone(bank.terms(), lifetime_value_minor=lifetime, p_harm=-1.0).cell[0] == -1


def test_scores_of_another_catalogue_are_refused() -> None:
    terms = bank.terms()
    with pytest.raises(SchemaError, match="the scores do not fit the catalogue"):
        cell_values(pa.RecordBatch.from_pydict({"p_churn": [0.1]}), terms)
