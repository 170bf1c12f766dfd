"""suppress() against the oracle, cell by cell, and against itself by every other way it may go."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rules import chunks
from rules import suppress as room
from rules.catalogue import Catalogue
from rules.errors import SchemaError
from rules.reasons import PRECEDENCE, RANK, ReasonCode
from rules.suppress import FEW, Suppressed, checked_reader, codes_of, suppress
from rules.terms import Audience, Holdout, Terms
from tests import bank
from tests.oracle import closing

CAMPAIGNS = (Audience("dollars", ("deposit_usd_6m", "wealth_usd_income"), ("sms", "call"), "balance_usd_minor > 100"),
             Audience("all_year", ("deposit_cny_12m", "card_gold"), ("app", "branch")))  # fmt: skip


def wide(times: int) -> Terms:
    """The shipped policy over its catalogue repeated: more cells than a word has bits."""
    shipped = bank.catalogue().model_dump()
    offers = [offer | {"id": f"{offer['id']}_{copy}"} for copy in range(times) for offer in shipped["offers"]]
    catalogue = Catalogue.model_validate(shipped | {"offers": offers, "treatments": ()})
    return bank.terms(catalogue=catalogue, columns=bank.feature_columns(catalogue))


def assert_oracles(terms: Terms, rows: list[dict[str, Any]], found: Suppressed) -> None:
    for place, row in enumerate(rows):
        closed = [closing(row, cell, terms) for cell in range(terms.catalogue.n_cells)]
        assert found.open[place].tolist() == [not reasons for reasons in closed]
        assert codes_of(int(found.reasons[place])) == sorted(set().union(*closed), key=lambda code: RANK[code])
        last = max((min(RANK[code] for code in reasons) for reasons in closed), default=-1) if all(closed) else -1
        assert found.decisive[place] == last


def assert_equal(left: Suppressed, right: Suppressed) -> None:
    for name in ("packed", "open", "reasons", "decisive"):
        assert np.array_equal(getattr(left, name), getattr(right, name)), name


def both_ways(batch: pa.RecordBatch, terms: Terms, monkeypatch: pytest.MonkeyPatch) -> list[Suppressed]:
    found: list[Suppressed] = []
    for few in (-1, 10**9):
        monkeypatch.setattr(room, "FEW", few)
        found.append(suppress(batch, terms))
    return found


@pytest.mark.parametrize("name", ["plain", "campaigns", "worded", "paused", "holdout", "wide"])
def test_p15_every_cell_and_reason_equals_the_oracles(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = {"plain": bank.terms, "campaigns": lambda: bank.terms(audiences=CAMPAIGNS), "wide": lambda: wide(4),
             "worded": lambda: bank.terms(audiences=bank.WORDED),
             "paused": lambda: bank.terms(audiences=CAMPAIGNS, paused=frozenset({"channel:sms", "campaign:all_year"})),
             "holdout": lambda: bank.terms(holdout=Holdout(0.3, "2026H1"))}[name]()  # fmt: skip
    rows = bank.population(terms, 24 if name == "wide" else 90, seed=11)  # both directions, some asked channels
    for found in both_ways(bank.customers_batch(terms, rows), terms, monkeypatch):
        assert_oracles(terms, rows, found)
        assert (found.decisive < 0).any()
        assert (found.decisive >= 0).any()


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, FEW - 1, FEW, FEW + 1])
def test_few_and_many_agree_on_both_sides_of_the_border(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = bank.terms(holdout=Holdout(0.2, "s"))
    batch = bank.customers_batch(terms, bank.population(terms, n, seed=n))
    shipped = suppress(batch, terms)
    many, few = both_ways(batch, terms, monkeypatch)
    assert_equal(many, few)
    assert_equal(many, shipped)
    assert many.open.shape == (n, terms.catalogue.n_cells)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_chunks_and_threads_change_nothing(n_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = bank.terms(holdout=Holdout(0.2, "s"))
    batch = bank.customers_batch(terms, bank.population(terms, 203, seed=4))
    whole = suppress(batch, terms)
    monkeypatch.setattr(room, "CHUNK", 64)
    monkeypatch.setattr(chunks, "N_THREADS", n_threads)
    assert_equal(suppress(batch, terms), whole)


@pytest.mark.parametrize("start", [1, 3, 8, 13])
def test_a_slice_that_begins_within_a_byte_answers_like_its_copy(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = bank.terms()
    rows = bank.population(terms, 130, seed=6)
    slices = both_ways(bank.customers_batch(terms, rows).slice(start, 100), terms, monkeypatch)
    copies = both_ways(bank.customers_batch(terms, rows[start : start + 100]), terms, monkeypatch)
    for found, copy in zip(slices, copies, strict=True):
        assert_equal(found, copy)


def test_all_closed_names_the_switch_and_whatever_else_was_met(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = bank.terms(paused=frozenset({"all"}))
    batch = bank.customers_batch(terms, [bank.welcome(terms)] * 70)
    for found in both_ways(batch, terms, monkeypatch):
        assert not found.open.any()
        assert set(found.decisive.tolist()) == {RANK[ReasonCode.PAUSED]}
        assert codes_of(int(found.reasons[0])) == [ReasonCode.PAUSED, ReasonCode.OFFER_NOT_ON_CHANNEL]


def test_a_direction_nobody_knows_is_closed_without_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = bank.terms()
    batch = bank.customers_batch(terms, [bank.welcome(terms)] * 3)
    place = batch.schema.get_field_index("direction")
    batch = batch.set_column(
        place, batch.schema.field(place).with_nullable(True), pa.array(["outbound", "sideways", None])
    )
    for found in both_ways(batch, terms, monkeypatch):
        assert found.open.any(axis=1).tolist() == [True, False, False]
        assert found.reasons[1:].tolist() == [0, 0]
        assert found.decisive.tolist() == [-1, -1, -1]


def test_null_and_nan_close_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = bank.terms()
    rows = [bank.welcome(terms) | {"age_years": value} for value in (None, float("nan"), 40.0)]
    for found in both_ways(bank.customers_batch(terms, rows), terms, monkeypatch):
        assert np.array_equal(found.open[0], found.open[1])
        assert found.reasons[0] == found.reasons[1]
        assert not np.array_equal(found.open[0], found.open[2])


def test_every_reason_has_its_bit() -> None:
    assert len(PRECEDENCE) <= room.N_RANKS
    masks = np.packbits(np.eye(64, dtype=np.uint8), axis=1, bitorder="little")  # customer k met reason k alone
    assert room._turned(masks).view(np.uint64)[:, 0].tolist() == [1 << rank for rank in range(64)]


def test_a_wrong_type_is_named_and_a_schema_is_checked_once() -> None:
    terms = bank.terms()
    batch = bank.customers_batch(terms, [bank.welcome(terms)])
    suppress(batch, terms)
    suppress(batch.append_column("of_a_model", pa.array([1.0])), terms)
    assert len(terms.readers) == 2
    place = batch.schema.get_field_index("unit_id")
    wrong = batch.set_column(place, "unit_id", pa.array([1]))
    with pytest.raises(SchemaError, match="column `unit_id` is int64; expected string"):
        suppress(wrong, terms)
    for k in range(20):
        suppress(batch.append_column(f"extra_{k}", pa.array([1.0])), terms)
    assert len(terms.readers) == room.N_READERS


def test_p15_rows_at_hand_close_the_same_cells_as_rows_read() -> None:
    """Mutants put back and caught: NaN or a text outside its domain let through by `Plain.read`."""
    terms = bank.terms(audiences=CAMPAIGNS)
    rows = bank.population(terms, 40, seed=5)
    rows[0] |= {"age_years": float("nan"), "kind": "cyborg"}
    rows[1] |= {"arrears_days": float("nan"), "consent_marketing_sms": "perhaps"}
    batch = bank.customers_batch(terms, rows)
    plain = terms.plain.rows({name: batch.column(name) for name in batch.schema.names}, len(rows))
    assert plain == checked_reader(batch.schema, terms).rows(batch)
    assert plain[0]["age_years"] is plain[0]["kind"] is plain[1]["consent_marketing_sms"] is None
    assert_equal(suppress(batch, terms, plain), suppress(batch, terms))
    with pytest.raises(ValueError, match="zip"):
        suppress(batch, terms, plain[1:])
