"""How much of a currency left: outflow against what is still there. Made from other features."""

import polars as pl

from features.source import Source
from features.view import Feature

SHARE_DAYS = (14, 30)


def declare_shares(source: Source) -> tuple[Feature, ...]:
    """The declared shares, two windows a currency."""
    return tuple(
        Feature(
            f"outflow_share_{currency.lower()}_{days}d",
            "number",
            "share",
            "the bank gave no accounts",
            "transactions",
            f"share of {currency} that left, {days} days",
            f"{days}天 {currency} 流出占比",
        )
        for currency in source.settings.currencies
        for days in SHARE_DAYS
    )


def outflow_shares(currencies: tuple[str, ...]) -> list[pl.Expr]:
    """Shares outflow / (balance + outflow), both at least 0: in [0, 1] per currency and window.

    0 where both are 0, null where the balance is null. Made of the columns balance_..._minor and
    outflow_..._sum_..d of the frame the expressions are used in.
    """
    found: list[pl.Expr] = []
    for currency in (code.lower() for code in currencies):
        stays = pl.col(f"balance_{currency}_minor").clip(0)
        for days in SHARE_DAYS:
            out = pl.col(f"outflow_{currency}_sum_{days}d").clip(0)
            share = pl.when(out + stays == 0).then(0.0).otherwise(out / (stays + out))
            found.append(share.alias(f"outflow_share_{currency}_{days}d"))
    return found
