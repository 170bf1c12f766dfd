"""What a list's contacts say beside the offer: the language of the wording for that customer, and its legal footer."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from serving.campaign import Campaign

WORDING_COLUMNS = ("language", "legal_footer")


def with_wordings(offers: pa.Table, campaigns: Sequence[Campaign], people: pa.Table) -> pa.Table:
    """The contacts with WORDING_COLUMNS at their end; null where the campaign names no wordings.

    language: the one that was approved; where both were, the customer's own, null where nobody knows it.
    people: customers, with `language` where the bank has it.
    """
    named = {(one.id, said.id): said for one in campaigns for said in one.treatments}
    said = [named.get((row["campaign_id"], row["treatment"])) for row in offers.select(["campaign_id", "treatment"]).to_pylist()] if named else [None] * len(offers)  # fmt: skip
    customers = offers.column("customer_id").to_pylist()
    own = _languages(people, [name for name, one in zip(customers, said, strict=True) if one and one.language is None])
    languages = [one and (one.language or own.get(name)) for name, one in zip(customers, said, strict=True)]
    for name, values in zip(WORDING_COLUMNS, (languages, [one and one.legal_footer for one in said]), strict=True):
        offers = offers.append_column(name, pa.array(values, pa.string()))
    return offers


def _languages(people: pa.Table, customers: Sequence[str]) -> dict[str, str]:
    if not customers or "language" not in people.column_names:
        return {}
    table = people.select(["customer_id", "language"])
    table = table.filter(pc.is_in(table.column("customer_id"), pa.array(customers, pa.string())))
    return dict(zip(*(table.column(name).to_pylist() for name in ("customer_id", "language")), strict=True))
