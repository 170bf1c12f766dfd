"""How the bank has spoken to the customer and what he made of it.

A contact counts when it was sent, outbound and for marketing; an outcome when it happened. These
are for models: caps are counted by the ledger, which knows what is reserved as well.
"""

from collections.abc import Mapping

import narwhals as nw
import numpy as np
import polars as pl

from features.source import Source
from features.tables import MARKETING_CHANNELS
from features.view import Feature, FeatureView, Pairs
from features.windows import DAYS_A_MICRO, Log

CHANNEL_DAYS, ALL_DAYS = (30, 90), (30, 365)
ANSWERS = {"accepted": 365, "refused": 365, "opened": 90}
ANSWERED = frozenset(
    {"ignored_in_a_row", *(f"{kind}_count_{days}d" for kind, days in ANSWERS.items())}
)  # read off outcomes
REACTIONS = (
    "opened",
    "clicked",
    "accepted",
    "refused",
    "later",
    "complained",
    "opted_out",
    "do_not_call",
)
NO_OUTCOMES = "the bank gave no outcomes, or no contacts and did not declare that there were none"
NO_CONTACTS = "the bank gave no contacts and did not declare that there were none"
MARKETING = (pl.col("direction") == "outbound") & (pl.col("purpose") == "marketing") & pl.col("sent_at").is_not_null()


def _declare(source: Source) -> tuple[Feature, ...]:
    return (*_counts(), *_ages(source))


def _counts() -> list[Feature]:
    """What is 0 of whom nobody contacted."""
    told = [_count(f"contacts_{c}_count_{d}d", f"marketing by {c}, {d} days", f"{d}天{c}营销次数")
            for c in MARKETING_CHANNELS for d in CHANNEL_DAYS]  # fmt: skip
    told += [_count(f"contacts_count_{d}d", f"marketing contacts, {d} days", f"{d}天营销次数") for d in ALL_DAYS]
    told.append(_count("ignored_in_a_row", "contacts since his last reaction", "连续未响应次数"))
    words = {"accepted": "接受", "refused": "拒绝", "opened": "打开"}
    return told + [_count(f"{kind}_count_{d}d", f"offers {kind}, {d} days", f"{d}天{words[kind]}次数", "outcomes")
                   for kind, d in ANSWERS.items()]  # fmt: skip


def _count(name: str, en: str, zh: str, table: str = "contacts") -> Feature:
    return Feature(name, "number", table, NO_OUTCOMES if name in ANSWERED else NO_CONTACTS, table, en, zh)


def _ages(source: Source) -> list[Feature]:
    """What is null of whom nobody contacted."""
    about = {"": ("the last contact", "上次营销")}
    about |= {f"_{c}": (f"the last contact by {c}", f"上次{c}营销") for c in MARKETING_CHANNELS}
    about |= {
        f"_about_{f}": (f"the last contact about {f} (offers named {f}_...)", f"上次{f}类营销") for f in source.families
    }
    return [Feature(f"days_since_last_contact{which}", "number", "days", "there was none", "contacts", f"days since {en}", f"{zh}距今天数")
            for which, (en, zh) in about.items()]  # fmt: skip


def _compute(pairs: Pairs, source: Source) -> Mapping[str, pl.Series]:
    if not source.has("contacts"):
        none = 0.0 if source.assumed_empty("contacts") else None
        counts, ages = (pl.repeat(value, len(pairs), dtype=pl.Float64, eager=True) for value in (none, None))
        return {f.name: counts for f in _counts()} | {f.name: ages for f in _ages(source)}
    columns = ("contact_id", "offer_id", "channel", "direction", "purpose", "sent_at")
    rows = source.rows("contacts", columns, pairs.codes)
    sent = Log(_sent(rows.filter(MARKETING)))
    said = Log(_said(rows, source))
    zone = source.settings.tz
    asked = {d: [*(f"contacts_{c}" for c in MARKETING_CHANNELS)] for d in CHANNEL_DAYS}
    for days in ALL_DAYS:
        asked.setdefault(days, []).append("contacts")
    found = {f"{m}_count_{d}d": _float(v) for (m, d), v in sent.windows(pairs.frame, asked, zone).items()}
    answers = {d: [k for k, days in ANSWERS.items() if days == d] for d in set(ANSWERS.values())}
    counts = said.windows(pairs.frame, answers, zone)
    found |= {f"{m}_count_{d}d": _float(v) for (m, d), v in counts.items()}
    last = sent.last(pairs.frame, nw.col("contacts") > 0, ("booked",))["booked"]
    reacted = said.last(pairs.frame, nw.col("reaction") > 0, ("booked",))["booked"]
    about = {f"days_since_last_contact_{c}": nw.col("channel") == c for c in MARKETING_CHANNELS}
    about |= {
        f"days_since_last_contact_about_{f}": nw.col("offer_id").str.starts_with(f"{f}_") for f in source.families
    }
    for name, when in about.items():
        found[name] = (pairs.frame["as_of"] - sent.last(pairs.frame, when, ("booked",))["booked"]) * DAYS_A_MICRO
    found |= {
        "days_since_last_contact": (pairs.frame["as_of"] - last) * DAYS_A_MICRO,
        "ignored_in_a_row": _float(sent.since(pairs.frame, reacted + 1, ("contacts",))["contacts"]),
    }
    if not source.has("outcomes"):  # whom nobody was told of has neither answered nor kept silent
        found |= {name: pl.repeat(None, len(pairs), dtype=pl.Float64, eager=True) for name in ANSWERED}
    return found


def _sent(rows: pl.DataFrame) -> pl.DataFrame:
    channels = [(pl.col("channel") == c).cast(pl.Int64).alias(f"contacts_{c}") for c in MARKETING_CHANNELS]
    return rows.select("customer", "offer_id", "channel", pl.lit(1, pl.Int64).alias("contacts"), *channels,
                       booked=pl.col("sent_at"), recorded=pl.col("sent_at"))  # fmt: skip


def _said(contacts: pl.DataFrame, source: Source) -> pl.DataFrame:
    """One row an outcome of those contacts: customer, booked, recorded, one measure an answer."""
    empty = pl.DataFrame(schema={"contact_id": pl.String, "kind": pl.String, "at": pl.Int64})
    whole = source.whole("outcomes", ("contact_id", "kind", "at")) if source.has("outcomes") else empty
    rows = whole.join(contacts.select("contact_id", "customer"), on="contact_id")
    kinds = [(pl.col("kind") == k).cast(pl.Int64).alias(k) for k in ANSWERS]
    reaction = pl.col("kind").is_in(REACTIONS).cast(pl.Int64).alias("reaction")
    return rows.select("customer", *kinds, reaction, booked="at", recorded="at")


def _float(values: np.ndarray) -> pl.Series:  # pyright: ignore[reportMissingTypeArgument]  # int64
    return pl.Series(values.astype(np.float64))


CONTACTS = FeatureView("contacts", _declare, _compute)
