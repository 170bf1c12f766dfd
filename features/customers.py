"""What the bank knows about the customer: facts, consents, and which channels reach him.

The customers table has no history: flags stand as the last import told them. Dated facts (birthday,
risk questionnaire, first day) count from the midnight that follows their day.
"""

import narwhals as nw
import polars as pl

from features.source import Source
from features.tables import MARKETING_CHANNELS
from features.view import Feature, FeatureView, Pairs
from features.windows import DAYS_A_MICRO, Log

FLAGS = {
    "do_not_contact": ("do-not-contact register entry", "拒绝联系登记"),
    "no_profiling": ("objection to profiling", "反对用户画像"),
    "deceased": ("reported death", "已登记身故"),
    "staff": ("employment by the bank", "本行员工"),
    "vulnerable": ("vulnerability mark", "弱势客户标记"),
    "fraud_lock": ("lock on suspicion of fraud", "欺诈嫌疑锁定"),
}
NUMBERS = {
    "arrears_days": ("days", "days of the oldest unpaid instalment", "最早未付分期的逾期天数"),
    "risk_tolerance": ("grade 1..5", "risk tolerance", "风险承受等级"),
    "credit_grade": ("grade 1..10", "credit grade", "信用等级"),
}
TEXTS = {
    "home_branch": ("home branch", "归属网点"),
    "manager_id": ("relationship manager", "客户经理"),
    "time_zone": ("time zone", "时区"),
    "language": ("language", "语言"),
}
AGES = {
    "age_years": ("years", "completed years of age", "周岁年龄", "birthday unknown, or a firm"),
    "tenure_days": ("days", "days as a customer", "开户天数", "first day unknown or later"),
    "risk_assessment_age_days": ("days", "days since the risk questionnaire", "风险测评距今天数",
                                 "no questionnaire before as_of"),
}  # fmt: skip
CONSENTS = "granted|denied|withdrawn|none"
PROFILING = "consent_profiling"


def _declare(_source: Source) -> tuple[Feature, ...]:
    unknown, table = "the bank does not know", "customers"
    facts = [Feature("kind", "text", "", "never", table, "kind of customer", "客户类型", "person|corporate")]
    facts += [Feature(n, "number", unit, null, table, en, zh) for n, (unit, en, zh, null) in AGES.items()]
    facts += [Feature(n, "bool", "", unknown, table, en, zh) for n, (en, zh) in FLAGS.items()]
    facts += [Feature(n, "number", unit, unknown, table, en, zh) for n, (unit, en, zh) in NUMBERS.items()]
    facts += [Feature(n, "text", "", unknown, table, en, zh, "en|zh" if n == "language" else "")
              for n, (en, zh) in TEXTS.items()]  # fmt: skip
    facts.append(Feature(PROFILING, "text", "", "no consents table and no assumption about it", "consents",
                         "consent to profiling", "对用户画像的同意", CONSENTS))  # fmt: skip
    for channel in MARKETING_CHANNELS:
        facts.append(
            Feature(
                f"consent_marketing_{channel}",
                "text",
                "",
                "no consents table and no assumption about it",
                "consents",
                f"consent to marketing by {channel}",
                f"{channel} 营销同意",
                CONSENTS,
            )
        )
        facts.append(
            Feature(
                f"consent_marketing_{channel}_age_days",
                "number",
                "days",
                "nothing was ever said",
                "consents",
                f"days since the word on marketing by {channel}",
                f"{channel} 营销意愿距今天数",
            )
        )
        facts.append(Feature(
            f"reachable_{channel}", "bool", "", "the bank does not know", "reachability",
            f"way to reach the customer by {channel}", f"{channel} 可触达",
        ))  # fmt: skip
    return tuple(facts)


def _compute(pairs: Pairs, source: Source) -> dict[str, pl.Series]:
    columns = ("kind", "birth_date", "joined_on", "risk_assessed_on", *FLAGS, *NUMBERS, *TEXTS)
    facts = source.rows("customers", columns, pairs.codes)
    rows = pairs.frame.join(facts, on="customer", how="left", maintain_order="left")
    day = pl.col("day")
    assessed = pl.col("risk_assessed_on") < day
    rows = rows.with_columns(
        age_years=_years("birth_date"),
        tenure_days=_days_since("joined_on"),
        risk_assessment_age_days=_days_since("risk_assessed_on"),
        # A grade whose questionnaire came after the instant was not known then.
        risk_tolerance=pl.when(assessed | pl.col("risk_assessed_on").is_null()).then("risk_tolerance"),
    )
    numbers = [*AGES, *NUMBERS]
    rows = rows.with_columns(pl.col(numbers).cast(pl.Float64))
    told = {name: rows[name] for name in ("kind", *AGES, *FLAGS, *NUMBERS, *TEXTS)}
    return told | _consents(pairs, source) | _reachability(pairs, source)


def _days_since(column: str) -> pl.Expr:
    age = (pl.col("day") - pl.col(column)).dt.total_days()
    return pl.when(age > 0).then(age)


def _years(column: str) -> pl.Expr:
    born, day = pl.col(column), pl.col("day")
    # Cast first: months are 8-bit integers and would overflow.
    this = day.dt.month().cast(pl.Int32) * 100 + day.dt.day()
    before = this < born.dt.month().cast(pl.Int32) * 100 + born.dt.day()
    years = day.dt.year() - born.dt.year() - before.cast(pl.Int32)
    return pl.when(years >= 0).then(years)


def _consents(pairs: Pairs, source: Source) -> dict[str, pl.Series]:
    """Consent per channel: the last word on it or on all channels; to profiling: the last on any. An expired one is none."""
    if not source.has("consents"):
        given = "granted" if source.assumed("consents") else None
        said = {f"consent_marketing_{c}": pl.repeat(given, len(pairs), dtype=pl.String, eager=True)
                for c in MARKETING_CHANNELS}  # fmt: skip
        said[PROFILING] = pl.repeat(given, len(pairs), dtype=pl.String, eager=True)
        return said | {f"consent_marketing_{c}_age_days": _nulls(pairs) for c in MARKETING_CHANNELS}
    columns = ("purpose", "channel", "state", "at", "expires_at")
    rows = source.rows("consents", columns, pairs.codes)
    log = statements(rows.filter(pl.col("purpose") == "marketing"))
    profiled = statements(rows.filter(pl.col("purpose") == "profiling"))
    last = profiled.last(pairs.frame, nw.col("state") != "", ("state", "booked", "expires_at"))
    out = {PROFILING: _said(last.with_columns(pairs.frame["as_of"]))}
    for channel in MARKETING_CHANNELS:
        concerns = nw.col("channel").is_in(["all", channel])
        last = log.last(pairs.frame, concerns, ("state", "booked", "expires_at"))
        last = last.with_columns(pairs.frame["as_of"])
        out[f"consent_marketing_{channel}"] = _said(last)
        age = (pl.col("as_of") - pl.col("booked")) * DAYS_A_MICRO
        out[f"consent_marketing_{channel}_age_days"] = last.select(age).to_series()
    return out


def _said(last: pl.DataFrame) -> pl.Series:
    expired = pl.col("expires_at") <= pl.col("as_of")
    return last.select(pl.when(expired).then(pl.lit("none")).otherwise(pl.col("state").fill_null("none"))).to_series()


def statements(rows: pl.DataFrame) -> Log:
    """Words - consents, or what is known of a channel - of which `last` gives the one that holds."""
    # A word on one channel and one on all, said together: the narrower is the later one. Of a yes and a no, the no.
    narrow, no = pl.col("channel") != "all", ~pl.col("state").is_in(["granted", "ok"])
    return Log(
        rows.with_columns(narrow=narrow, no=no, booked="at", recorded="at"), order=("narrow", "channel", "no", "state")
    )


def _reachability(pairs: Pairs, source: Source) -> dict[str, pl.Series]:
    names = {c: f"reachable_{c}" for c in MARKETING_CHANNELS}
    if not source.has("reachability"):
        said = source.assumed("reachability")
        known = {c: True if said in ("all reachable", f"all reachable by {c}") else None for c in names}
        return {name: pl.repeat(known[c], len(pairs), dtype=pl.Boolean, eager=True) for c, name in names.items()}
    log = statements(source.rows("reachability", ("channel", "state", "at"), pairs.codes))
    return {
        name: log.last(pairs.frame, nw.col("channel") == channel, ("state",))["state"] == "ok"
        for channel, name in names.items()
    }


def _nulls(pairs: Pairs) -> pl.Series:
    return pl.repeat(None, len(pairs), dtype=pl.Float64, eager=True)


CUSTOMERS = FeatureView("customers", _declare, _compute)
