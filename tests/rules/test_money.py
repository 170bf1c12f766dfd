"""Amounts as people read them, in currencies with hundredths, thousandths and neither."""

import pytest

from features import money as of_features
from rules import money as of_rules
from rules.money import amount, money


@pytest.mark.parametrize(("minor", "currency", "text"), [
    (123_450, "CNY", "1,234.50 CNY"), (-5, "EUR", "−0.05 EUR"), (1_235, "JPY", "1,235 JPY"), (-0.4, "CNY", "0.00 CNY"), (1, "KWD", "0.001 KWD"),
])  # fmt: skip
def test_money_is_never_raw_minor_units(minor: float, currency: str, text: str) -> None:
    assert money(minor, currency) == text and f"{amount(minor, currency)} {currency}" == text


def test_rules_and_features_have_the_same_currencies() -> None:
    """Neither room may know the other, so each has the table."""
    for name in ("_WHOLE", "_THOUSANDTHS"):
        assert getattr(of_rules, name) == getattr(of_features, name)
