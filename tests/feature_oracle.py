"""Features of one customer at one instant, straight from their definitions, in plain Python.

Slow, obvious, and without a line of the engine: the truth the store is compared with.
"""

import math
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
Tables = dict[str, list[Row]]
CHANNELS = ("sms", "email", "app", "call", "branch", "mail")
OUTFLOW = ("cash_withdrawal", "transfer_out", "fx_sale")
INFLOW = ("salary", "cash_deposit", "transfer_in", "fx_purchase")
DIGITS = {"JPY": 0}
KINDS = (*OUTFLOW, *INFLOW, "fee", "interest", "loan_payment", "refund", "own_transfer")
PLACES = ("atm", "branch", "app", "pos", "online")
DAY = timedelta(days=1)


def features_of(tables: Tables, customer: str, as_of: datetime, zone: ZoneInfo, base: str,
                currencies: tuple[str, ...]) -> Row:  # fmt: skip
    """Every declared feature of that customer at that instant; None for null."""
    bank = Bank(tables, customer, as_of, zone, base)
    found: Row = {}
    for part in (
        _facts,
        _consents,
        _reachability,
        _holdings,
        _contacts,
        _cases,
        _variety,
        _places,
        _salary,
        _last,
        _notes,
    ):
        found |= part(bank)
    found |= _money(bank, currencies)
    return found


class Bank:
    def __init__(self, tables: Tables, customer: str, as_of: datetime, zone: ZoneInfo, base: str) -> None:
        self.tables, self.customer, self.as_of, self.zone, self.base = (
            tables,
            customer,
            as_of,
            zone,
            base,
        )
        self.day: date = as_of.astimezone(zone).date()

    def mine(self, table: str) -> list[Row]:
        return [row for row in self.tables[table] if row["customer_id"] == self.customer]

    def booked(self) -> list[Row]:
        rows = [r for r in self.tables["transactions"]
                if r["booked_at"] < self.as_of and r["recorded_at"] <= self.as_of]  # fmt: skip
        return sorted(rows, key=lambda r: (r["booked_at"], r["recorded_at"], r["transaction_id"]))

    def tail(self, days: int) -> datetime:
        first = self.day - days * DAY
        return datetime(first.year, first.month, first.day, tzinfo=self.zone)

    def within(self, rows: list[Row], clock: str, days: int) -> list[Row]:
        tail = self.tail(days).timestamp()
        return [r for r in rows if r[clock].timestamp() >= tail and r[clock] < self.as_of]

    def in_base(self, amount: float, currency: str, day: date) -> float | None:
        if currency == self.base:
            return float(amount)
        rates = [r for r in self.tables["fx_rates"] if r["currency"] == currency and r["day"] <= day]
        if not rates:
            return None
        rate = max(rates, key=lambda r: r["day"])["per_base"]
        scale = 10.0 ** (DIGITS.get(self.base, 2) - DIGITS.get(currency, 2))
        worth = float(math.floor(amount * scale / rate + 0.5))
        return worth if abs(worth) <= 10**15 else None

    def ago(self, rows: list[Row], clock: str) -> float | None:
        return max((r[clock] for r in rows), default=None) and _days(self.as_of - max(r[clock] for r in rows))


def _days(span: timedelta) -> float:
    return (span // timedelta(microseconds=1)) / 86_400_000_000


def _facts(bank: Bank) -> Row:
    row = bank.mine("customers")[0]
    found = {name: row[name] for name in (
        "kind", "do_not_contact", "no_profiling", "deceased", "staff", "vulnerable", "fraud_lock",
        "home_branch", "manager_id", "time_zone", "language", "arrears_days", "credit_grade",
    )}  # fmt: skip
    born, day = row["birth_date"], bank.day
    age = None
    if born is not None:
        age = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    joined, assessed = row["joined_on"], row["risk_assessed_on"]
    return found | {
        "age_years": age if age is not None and age >= 0 else None,
        "tenure_days": (day - joined).days if joined and joined < day else None,
        "risk_assessment_age_days": (day - assessed).days if assessed and assessed < day else None,
        "risk_tolerance": row["risk_tolerance"] if assessed is None or assessed < day else None,
    }


def _consents(bank: Bank) -> Row:
    found: Row = {}
    for channel in CHANNELS:
        said = [r for r in bank.mine("consents") if r["purpose"] == "marketing"
                and r["channel"] in ("all", channel) and r["at"] < bank.as_of]  # fmt: skip
        last = max(
            said, key=lambda r: (r["at"], r["channel"] != "all", r["state"] != "granted", r["state"]), default=None
        )
        name = f"consent_marketing_{channel}"
        found[name], found[f"{name}_age_days"] = "none", None
        if last:
            found[f"{name}_age_days"] = _days(bank.as_of - last["at"])
            if not (last["expires_at"] and last["expires_at"] <= bank.as_of):
                found[name] = last["state"]
    said = [r for r in bank.mine("consents") if r["purpose"] == "profiling" and r["at"] < bank.as_of]
    last = max(
        said,
        key=lambda r: (r["at"], r["channel"] != "all", r["channel"], r["state"] != "granted", r["state"]),
        default=None,
    )
    valid = last and not (last["expires_at"] and last["expires_at"] <= bank.as_of)
    found["consent_profiling"] = last["state"] if last and valid else "none"
    return found


def _reachability(bank: Bank) -> Row:
    found: Row = {}
    for channel in CHANNELS:
        rows = [r for r in bank.mine("reachability") if r["channel"] == channel and r["at"] < bank.as_of]
        found[f"reachable_{channel}"] = (
            max(rows, key=lambda r: (r["at"], r["state"] != "ok"))["state"] == "ok" if rows else None
        )
    return found


def _owned(bank: Bank) -> list[Row]:
    ids = {h["account_id"] for h in bank.mine("holders") if h["role"] in ("owner", "joint")}
    return [
        a
        for a in bank.tables["accounts"]
        if a["account_id"] in ids and (a["closed_on"] is None or a["closed_on"] >= bank.day)
    ]


def _holdings(bank: Bank) -> Row:
    held = [a for a in _owned(bank) if a["opened_on"] < bank.day]
    found: Row = {f"holds_{p['product']}": any(a["product"] == p["product"] for a in held)
                  for p in bank.tables["products"]}  # fmt: skip
    ahead = [(a["matures_on"] - bank.day).days for a in held if a["matures_on"] and a["matures_on"] >= bank.day]
    return found | {"n_accounts": len(held), "maturity_ahead_days": min(ahead, default=None)}


def _balance(bank: Bank, account: str, rows: list[Row]) -> int:
    mine = [r for r in rows if r["account_id"] == account]
    stated = [r for r in mine if r["balance_after_minor"] is not None]
    if not stated:
        return sum(r["amount_minor"] for r in mine)
    anchor = stated[-1]
    later = [r for r in mine if r["booked_at"] > anchor["booked_at"]]
    return anchor["balance_after_minor"] + sum(r["amount_minor"] for r in later)


def _money(bank: Bank, currencies: tuple[str, ...]) -> Row:
    booked, found, total = bank.booked(), dict[str, Any](), 0.0
    mine = [r for r in booked if r["customer_id"] == bank.customer]
    accounts = _owned(bank)
    for currency in currencies:
        c = currency.lower()
        balance = sum(_balance(bank, a["account_id"], booked) for a in accounts if a["currency"] == currency)
        found[f"balance_{c}_minor"] = balance
        worth = 0.0 if balance == 0 else bank.in_base(balance, currency, bank.day)
        total = None if total is None or worth is None else total + worth
        for days in (1, 14, 30, 90):
            rows = [r for r in bank.within(mine, "booked_at", days) if r["currency"] == currency]
            found[f"inflow_{c}_sum_{days}d"] = sum(r["amount_minor"] for r in rows if r["kind"] in INFLOW)
            found[f"outflow_{c}_sum_{days}d"] = -sum(r["amount_minor"] for r in rows if r["kind"] in OUTFLOW)
        for days in (14, 30):
            out, stays = max(found[f"outflow_{c}_sum_{days}d"], 0), max(balance, 0)
            found[f"outflow_share_{c}_{days}d"] = out / (stays + out) if stays + out else 0.0
    found["balance_total_minor"] = total
    return found | _spending(bank, mine)


def _spending(bank: Bank, mine: list[Row]) -> Row:
    found: Row = {}

    def total(kind: str, days: int, sign: int) -> float | None:
        rows = bank.within(mine, "booked_at", days)
        worth = [
            (
                r["kind"],
                bank.in_base(r["amount_minor"], r["currency"], r["booked_at"].astimezone(bank.zone).date()),
            )
            for r in rows
        ]
        if any(value is None for _, value in worth):
            return None
        return sign * sum(value for k, value in worth if k == kind and value is not None)

    for days in (1, 30, 90, 365, 730):
        found[f"transaction_count_{days}d"] = len(bank.within(mine, "booked_at", days))
    purchases = [r for r in mine if r["kind"] == "purchase"]
    for days in (7, 30, 90, 365):
        found[f"purchase_count_{days}d"] = len(bank.within(purchases, "booked_at", days))
    for days in (1, 30, 90, 365, 730):
        found[f"purchase_sum_{days}d"] = total("purchase", days, -1)
    for days in (90, 365):
        found[f"salary_sum_{days}d"] = total("salary", days, 1)
    few, many = found["transaction_count_30d"], found["transaction_count_90d"]
    found["transaction_trend_90d"] = few / many if many else None
    found["fee_sum_365d"], found["interest_sum_365d"] = (
        total("fee", 365, -1),
        total("interest", 365, 1),
    )
    for days in (30, 90, 365):
        spent, count = found[f"purchase_sum_{days}d"], found[f"purchase_count_{days}d"]
        found[f"purchase_mean_{days}d"] = spent / count if count and spent is not None else None
    spent = found["purchase_sum_90d"]
    half = total("purchase", 45, -1)
    found["purchase_trend_90d"] = half / spent if spent and half is not None else None
    found["days_since_last_transaction"] = bank.ago(mine, "booked_at")
    found["days_since_last_salary"] = bank.ago([r for r in mine if r["kind"] == "salary"], "booked_at")
    found["days_since_last_purchase"] = bank.ago(purchases, "booked_at")
    return found


def _day(bank: Bank, row: Row) -> date:
    return row["booked_at"].astimezone(bank.zone).date()


def _worth(bank: Bank, row: Row, amount: int | None) -> float | None:
    return None if amount is None else bank.in_base(amount, row["currency"], _day(bank, row))


def _mine(bank: Bank) -> list[Row]:
    return [r for r in bank.booked() if r["customer_id"] == bank.customer]


def _variety(bank: Bank) -> Row:
    mine, found = _mine(bank), dict[str, Any]()
    for days in (30, 90):
        rows = bank.within(mine, "booked_at", days)
        found[f"transaction_kinds_count_{days}d"] = len({r["kind"] for r in rows})
        found[f"transaction_channels_count_{days}d"] = len({r["channel"] for r in rows} - {None})
        found[f"active_days_count_{days}d"] = len({_day(bank, r) for r in rows})
        for name, kinds, sign in (("purchase", ("purchase",), -1), ("inflow", INFLOW, 1), ("outflow", OUTFLOW, -1)):
            amounts = [_worth(bank, r, r["amount_minor"]) for r in rows if r["kind"] in kinds]
            known = [sign * a for a in amounts if a is not None]
            whole = [a for a in known if a > 0] if len(known) == len(amounts) else []
            found[f"{name}_largest_{days}d"] = max(whole, default=None)
            if days == 90:
                found[f"{name}_smallest_90d"] = min(whole, default=None)
                if name != "purchase":
                    found[f"{name}_mean_90d"] = sum(whole) / len(whole) if whole else None
    rows = bank.within(mine, "booked_at", 90)
    found |= {f"{kind}_count_90d": sum(r["kind"] == kind for r in rows) for kind in KINDS}
    paid = {(_day(bank, r).year, _day(bank, r).month) for r in rows if r["kind"] == "salary"}
    return found | {"salary_months_count_90d": len(paid)}


def _places(bank: Bank) -> Row:
    mine, found = _mine(bank), dict[str, Any]()
    for place in PLACES:
        there = [r for r in mine if (r["channel"] or "").strip().lower() == place]
        for days in (30, 90):
            found[f"bookings_{place}_count_{days}d"] = len(bank.within(there, "booked_at", days))
        rows = bank.within(there, "booked_at", 90)
        spent = [r for r in rows if r["kind"] in (*OUTFLOW, "purchase", "fee", "loan_payment")]
        amounts = [_worth(bank, r, r["amount_minor"]) for r in spent]
        found[f"outgoing_{place}_sum_90d"] = None if None in amounts else -sum(a for a in amounts if a is not None)
        n = len(bank.within(mine, "booked_at", 90))
        found[f"bookings_{place}_share_90d"] = len(rows) / n if n else None
    return found


def _salary(bank: Bank) -> Row:
    """Booked as one, or the third of three like transfers in, each a fortnight or each a month after the one before."""
    rows = bank.within(_mine(bank), "booked_at", 98)
    fresh = {r["transaction_id"] for r in bank.within(_mine(bank), "booked_at", 35)}
    worths = [(r, _worth(bank, r, r["amount_minor"])) for r in rows]
    booked = [worth for r, worth in worths if r["kind"] == "salary" and r["transaction_id"] in fresh]
    back = None not in booked and sum(w for w in booked if w is not None) <= 0
    paid = [(r, worth) for r, worth in worths if r["kind"] == "salary" and r["transaction_id"] in fresh and not back
            and (worth is None or worth > 0)]  # fmt: skip
    came = [(r, worth) for r, worth in worths if worth is not None and worth > 0]
    tills = sum(r["kind"] == "transfer_in" and (worth is None or worth > 0) for r, worth in worths) > 400
    regular = [(r, worth) for r, worth in came if not tills and r["kind"] == "transfer_in" and r["transaction_id"] in fresh
               and any(_follows(bank, came, r, worth, gap) for gap in ((12, 16), (26, 35)))]  # fmt: skip
    # Of one day the one of unknown worth: nobody can say that it is not the larger.
    chosen = max(paid or regular, key=lambda one: (_day(bank, one[0]), one[1] is None, one[1] or 0), default=None)
    return {
        "salary_detected": chosen is not None,
        "salary_detected_minor": chosen[1] if chosen else None,
        "salary_detected_day": float(_day(bank, chosen[0]).day) if chosen else None,
    }


def _follows(bank: Bank, came: list[tuple[Row, float]], row: Row, worth: float, gap: tuple[int, int],
             more: int = 1) -> bool:  # fmt: skip
    for other, its in came:
        apart = (_day(bank, row) - _day(bank, other)).days
        like = 10 * min(worth, its) >= 9 * max(worth, its)
        if other["kind"] == "transfer_in" and gap[0] <= apart <= gap[1] and like:
            if not more or _follows(bank, came, other, its, gap, more - 1):
                return True
    return False


def _last(bank: Bank) -> Row:
    mine, found = _mine(bank), dict[str, Any]()
    for name in ("transaction", "purchase", "salary"):
        last = next((r for r in reversed(mine) if name in ("transaction", r["kind"])), None)
        found[f"last_{name}_minor"] = _worth(bank, last, last["amount_minor"]) if last else None
        if name != "purchase":
            after = last["balance_after_minor"] if last else None
            before = None if last is None or after is None else after - last["amount_minor"]
            found[f"balance_after_last_{name}_minor"] = _worth(bank, last, after) if last else None
            found[f"balance_before_last_{name}_minor"] = _worth(bank, last, before) if last else None
    return found


def _notes(bank: Bank) -> Row:
    notes = [r for r in bank.mine("notes") if r["at"] < bank.as_of]
    in_force = [r for r in notes if r["until"] is None or r["until"] >= bank.day]
    return {"notes_count": len(in_force), "days_since_last_note": bank.ago(notes, "at")}


def _contacts(bank: Bank) -> Row:
    mine = bank.mine("contacts")
    sent = [r for r in mine if r["direction"] == "outbound" and r["purpose"] == "marketing"
            and r["sent_at"] is not None and r["sent_at"] < bank.as_of]  # fmt: skip
    ids = {r["contact_id"] for r in mine}
    said = [r for r in bank.tables["outcomes"] if r["contact_id"] in ids and r["at"] < bank.as_of]
    found: Row = {}
    for channel in CHANNELS:
        rows = [r for r in sent if r["channel"] == channel]
        found[f"days_since_last_contact_{channel}"] = bank.ago(rows, "sent_at")
        for days in (30, 90):
            found[f"contacts_{channel}_count_{days}d"] = len(bank.within(rows, "sent_at", days))
    for family in {p["family"] for p in bank.tables["products"]}:
        rows = [r for r in sent if (r["offer_id"] or "").startswith(f"{family}_")]
        found[f"days_since_last_contact_about_{family}"] = bank.ago(rows, "sent_at")
    for days in (30, 365):
        found[f"contacts_count_{days}d"] = len(bank.within(sent, "sent_at", days))
    for kind, days in (("accepted", 365), ("refused", 365), ("opened", 90)):
        rows = [r for r in said if r["kind"] == kind]
        found[f"{kind}_count_{days}d"] = len(bank.within(rows, "at", days))
    found["days_since_last_contact"] = bank.ago(sent, "sent_at")
    reactions = [r["at"] for r in said if r["kind"] not in ("delivered", "undelivered", "no_response", "wrong_number")]
    last = max(reactions, default=None)
    found["ignored_in_a_row"] = sum(1 for r in sent if last is None or r["sent_at"] > last)
    return found


def _cases(bank: Bank) -> Row:
    opened = [r for r in bank.mine("cases") if r["opened_at"] < bank.as_of]
    still = [r["kind"] for r in opened if r["closed_at"] is None or r["closed_at"] >= bank.as_of]
    complaints = [r for r in opened if r["kind"] == "complaint"]
    return {
        **{f"{kind}_open": kind in still for kind in ("complaint", "hardship", "fraud", "bereavement")},
        "days_since_last_complaint": bank.ago(complaints, "opened_at"),
        "complaints_count_90d": len(bank.within(complaints, "opened_at", 90)),
    }  # fmt: skip
