"""why_closed against suppress and the oracle: the same reasons, with the rules behind them."""

from rules.reasons import RANK, Layer, ReasonCode
from rules.suppress import codes_of, suppress
from rules.terms import Holdout
from rules.why import why_closed
from tests import bank
from tests.oracle import closing


def test_the_reasons_of_a_cell_are_the_oracles_and_of_all_cells_those_of_suppress() -> None:
    terms = bank.terms(holdout=Holdout(0.3, "s"))
    rows = bank.population(terms, 12, seed=9)
    batch = bank.customers_batch(terms, rows)
    found = suppress(batch, terms)
    for place, row in enumerate(rows):
        met: set[ReasonCode] = set()
        for cell in range(terms.catalogue.n_cells):
            closings = why_closed(batch.slice(place, 1), terms, cell)
            assert [c.reason for c in closings] == sorted(closing(row, cell, terms), key=lambda code: RANK[code])
            assert all(c.rules for c in closings)
            met |= {c.reason for c in closings}
        assert met == set(codes_of(int(found.reasons[place])))


def test_a_closing_names_its_rules_and_only_the_layers_asked_for() -> None:
    terms = bank.terms()
    batch = bank.customers_batch(terms, [bank.welcome(terms) | {"deceased": True, "complaint_open": True}])
    both = why_closed(batch, terms, 0)
    assert [(c.reason, c.rules) for c in both] == [
        (ReasonCode.DECEASED, ("deceased",)),
        (ReasonCode.COMPLAINT_OPEN, ("complaint_open",)),
    ]
    assert [c.reason for c in why_closed(batch, terms, 0, (Layer.REGULATORY,))] == [ReasonCode.DECEASED]
