"""A campaign that names wordings has no cell but theirs, and speaks to nobody in a language that was not approved."""

import pytest

from rules.reasons import ReasonCode
from rules.suppress import suppress
from rules.terms import Audience, Wording
from rules.why import why_closed
from tests import bank

BOTH = (("wealth_usd_income", "deposit_usd_6m"), ("sms", "app"))


def reasons(
    language: str | None, wordings: tuple[Wording, ...] | None, offer: str, channel: str = "sms"
) -> list[ReasonCode]:
    """Why the cell is closed to a customer of that language under one campaign, both offers on sms and app."""
    terms = bank.terms(audiences=(Audience("dollars", *BOTH, "TRUE", wordings),))
    batch = bank.customers_batch(terms, [bank.welcome(terms) | {"language": language}])
    return [closing.reason for closing in why_closed(batch, terms, terms.catalogue.cell(offer, channel))]


WEALTH, ENGLISH = (Wording("wealth_usd_sms_1"),), (Wording("wealth_usd_sms_1", ("en",)),)


@pytest.mark.parametrize(("language", "wordings", "offer", "channel", "why"), [
    ("zh", None, "deposit_usd_6m", "sms", []),
    ("zh", None, "deposit_usd_6m", "app", []),
    ("zh", WEALTH, "wealth_usd_income", "sms", []),
    (None, WEALTH, "wealth_usd_income", "sms", []),  # both languages are approved
    ("zh", WEALTH, "deposit_usd_6m", "sms", [ReasonCode.NOT_IN_CAMPAIGN]),
    ("zh", WEALTH, "wealth_usd_income", "app", [ReasonCode.NOT_IN_CAMPAIGN]),  # the catalogue has no wording there
    ("zh", (), "wealth_usd_income", "sms", [ReasonCode.NOT_IN_CAMPAIGN]),  # all have expired
    ("en", ENGLISH, "wealth_usd_income", "sms", []),
    ("zh", ENGLISH, "wealth_usd_income", "sms", [ReasonCode.NOT_IN_AUDIENCE]),
    (None, ENGLISH, "wealth_usd_income", "sms", [ReasonCode.CAMPAIGN_UNKNOWN]),
])  # fmt: skip
def test_a_cell_is_open_where_its_wording_is_approved_for_the_customers_language(
    language: str | None, wordings: tuple[Wording, ...] | None, offer: str, channel: str, why: list[ReasonCode]
) -> None:
    """Mutants: wordings that govern nothing; an unknown language that opens."""
    assert reasons(language, wordings, offer, channel) == why


def test_terms_without_wordings_keep_the_revision_their_records_have() -> None:
    plain = (Audience("dollars", *BOTH),)
    assert (
        bank.terms(audiences=plain).revision
        == bank.terms(audiences=(Audience("dollars", *BOTH, "TRUE", None),)).revision
    )
    found = {
        bank.terms(audiences=(Audience("dollars", *BOTH, "TRUE", said),)).revision
        for said in (None, (), WEALTH, ENGLISH)
    }
    assert len(found) == 4


def test_each_part_of_a_campaign_names_it_in_the_decision() -> None:
    terms = bank.terms(audiences=bank.WORDED)
    of = [(audience.campaign_id, audience.cells.bit_count()) for audience in terms.program.audiences]
    assert of == [("dollars", 1), ("dollars", 1), ("cards", 1), ("all_year", 4)]
    row = bank.welcome(terms) | {"language": "zh"}
    found = suppress(bank.customers_batch(terms, [row]), terms)
    assert found.packed.any()
