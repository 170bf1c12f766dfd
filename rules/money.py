"""Amounts as people read them: never raw minor units."""

# ISO 4217 currencies whose smallest unit is not a hundredth. features/money.py has them too: neither room may know the
# other, and a test holds the two against each other.
_WHOLE = (
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV",
    "XAF", "XOF", "XPF",
)  # fmt: skip
_THOUSANDTHS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")


def money(minor: float, currency: str) -> str:
    """`1,234.50 CNY`, `1,235 JPY`: minor units of that currency, thousands apart, a true minus sign."""
    return f"{amount(minor, currency)} {currency}"


def amount(minor: float, currency: str) -> str:
    """The same without the currency's name."""
    digits = 0 if currency in _WHOLE else 3 if currency in _THOUSANDTHS else 2
    text = f"{abs(minor) / 10**digits:,.{digits}f}"
    return f"−{text}" if minor < 0 and any(c in "123456789" for c in text) else text
