"""Amounts as people read them: never raw minor units."""

from features.money import minor_digits


def money(minor: float, currency: str) -> str:
    """`1,234.50 CNY`, `1,235 JPY`: minor units of that currency, thousands apart, a true minus sign."""
    digits = minor_digits(currency)
    text = f"{abs(minor) / 10**digits:,.{digits}f} {currency}"
    return f"−{text}" if minor < 0 and any(c in "123456789" for c in text) else text
