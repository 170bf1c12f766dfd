"""Made-up conditions of the rule language, and rows to hold them against, for the tests of its readers."""

import pyarrow as pa
from hypothesis import strategies as st

from rules.column import declare
from rules.language import Language
from tests import bank


def columns() -> pa.Schema:
    def field(name: str, type_: pa.DataType, domain: str = "") -> pa.Field:
        return declare(name, type_, unit="", null="", source="", en=name, zh=name, domain=domain)

    return pa.schema([field("a", pa.float64()), field("b", pa.float64()), field("n", pa.int64()), field("flag", pa.bool_()),
                      field("done", pa.bool_()), field("kind", pa.string(), "person|corporate"), field("other", pa.string(), "person|thing"),
                      field("balance_usd_minor", pa.float64()), field("contacts_sms_7d", pa.float64())])  # fmt: skip


LANGUAGE = Language(columns(), bank.catalogue())

NUMBERS = st.one_of(
    st.none(),
    st.sampled_from([0.0, 1.0, -1.0, 2.5, 1e300, float("nan"), 2.0**53 + 1]),
    st.floats(allow_nan=True, allow_infinity=False),
)
ROWS = st.fixed_dictionaries({
    "a": NUMBERS, "b": NUMBERS, "n": st.one_of(st.none(), st.integers(-5, 5), st.just(2**60 + 1)), "flag": st.sampled_from([None, True, False]),
    "done": st.sampled_from([None, True, False]), "kind": st.sampled_from([None, "person", "corporate"]),
    "other": st.sampled_from([None, "person", "thing"]), "balance_usd_minor": NUMBERS, "contacts_sms_7d": NUMBERS})  # fmt: skip
TERM = st.recursive(st.sampled_from(["a", "b", "n", "balance_this_currency_minor", "offer.entry_minor", "1", "2.5", "-1"]),
                    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"), max_leaves=3)  # fmt: skip
ATOM = st.one_of(
    st.tuples(TERM, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), TERM).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
    st.sampled_from(["flag", "done", "kind = 'person'", "kind <> 'corporate'", "kind = other", "other IN ('thing')", "a IN (1, 2.5)",
                     "a BETWEEN 0 AND 2", "a IS NULL", "kind IS NOT NULL", "flag IS NULL", "channel.id = 'sms'", "offer.personalised", "TRUE",
                     "contacts_this_channel_7d >= 2", "flag = FALSE", "offer.currency = 'USD'", "offer.risk_grade > n"]))  # fmt: skip
CONDITION = st.recursive(ATOM, lambda inner: st.one_of(
    st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda t: f"(({t[0]}) {t[1]} ({t[2]}))"), inner.map(lambda t: f"NOT ({t})")), max_leaves=6)  # fmt: skip
WIDE = pa.schema([*columns(), *(columns().field("a").with_name(n) for n in (
    "balance_cny_minor", "balance_eur_minor", "contacts_email_7d", "contacts_app_7d", "contacts_call_7d",
    "contacts_branch_7d"))])  # fmt: skip
WIDE_LANGUAGE = Language(WIDE, bank.catalogue())
