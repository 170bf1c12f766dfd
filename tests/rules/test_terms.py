"""Terms under other prices: made from those at hand, yet as if made of nothing."""

import numpy as np
import pytest

from rules.decide import decide
from rules.terms import Exploration, Holdout
from tests import bank

N = 200


@pytest.mark.parametrize("seed", range(3))
def test_priced_terms_decide_and_are_named_as_terms_made_with_those_prices(seed: int) -> None:
    """The base is used first: what it has worked out must not cling to its twin."""
    rng = np.random.default_rng(seed)
    levers = {"exploration": Exploration(0.5, 50_000), "holdout": Holdout(0.1, "2026H1")}
    base = bank.terms(**levers)
    prices = tuple(int(price) for price in rng.integers(0, 30_000, base.catalogue.n_cells))
    rows = bank.population(base, N, seed)
    batch, scores = bank.customers_batch(base, rows), bank.scores(base, N, seed)

    def told(terms: object) -> list[dict[str, object]]:
        return decide(batch, terms, lambda *_: bank.scores_batch(base, scores)).to_pylist()  # pyright: ignore[reportArgumentType]

    free = told(base)
    twin, fresh = base.priced(prices), bank.terms(prices=prices, **levers)
    assert twin.program is base.program
    assert twin.revision == fresh.revision != base.revision
    assert told(twin) == told(fresh) != free
    assert base.prices == ()
    assert told(base) == free
    assert twin.priced(()).revision == base.revision


def test_a_price_for_each_cell() -> None:
    with pytest.raises(AssertionError, match="one bid price a cell"):
        bank.terms().priced((1, 2))
