"""A small made-up bank with every nuisance the features must survive, for the tests of features.

Late rows, rows at zone borders and on DST nights, ties, accounts without balances, expired consents,
joint accounts, households. Seeded; plain rows so that the oracle can read them without our code.
"""

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.home import Home, Settings
from features.tables import MARKETING_CHANNELS, TABLES, TRANSACTION_KINDS

START, END = datetime(2024, 9, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
CURRENCIES = ("GBP", "USD", "JPY")
Rows = list[dict[str, Any]]
Tables = dict[str, Rows]


def small_home(folder: Path, zone: str = "Europe/London") -> Home:
    """A home of the made-up bank with its simulated clock at NOW."""
    return Home.create(folder, Settings(
        name="Test", currency="GBP", currencies=CURRENCIES, zone=zone, clock="simulated", now=NOW,
    ))  # fmt: skip


def write_tables(tables: Tables, folder: Path) -> Path:
    """Write rows as one Parquet file a table and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        schema = TABLES[name].schema
        schema = schema.remove(schema.get_field_index("imported_at"))
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{name}.parquet")
    return folder


def made_up_bank(seed: int = 0, customers: int = 30, transactions: int = 2500, salaries: int = 0) -> Tables:
    """Rows of all tables; the same seed gives the same rows. salaries: accounts with money that comes regularly, or nearly."""
    draw = random.Random(seed)
    ids = [f"C{i:03d}" for i in range(customers)]
    tables: Tables = {
        "customers": [_customer(draw, c) for c in ids],
        "products": [
            {
                "product": f"current_{c.lower()}",
                "family": "deposit",
                "currency": c,
                "risk_grade": None,
                "entry_minor": None,
            }
            for c in CURRENCIES
        ]
        + [
            {
                "product": "deposit_gbp",
                "family": "deposit",
                "currency": "GBP",
                "risk_grade": 1,
                "entry_minor": 100_00,
            }
        ],
    }
    _accounts(draw, tables, ids)
    _transactions(draw, tables, ids, transactions)
    tables["transactions"] += _salaries(random.Random(seed), tables, salaries)
    tables["fx_rates"] = [
        {"day": (START + timedelta(days=d)).date(), "currency": currency,
         "per_base": round(rate * draw.uniform(0.9, 1.1), 4)}
        for d in range(0, 500, 3) for currency, rate in (("USD", 1.25), ("JPY", 190.0))
    ]  # fmt: skip
    _contacts(draw, tables, ids)
    tables["consents"] = _consents(draw, ids)
    tables["reachability"] = [
        {"customer_id": draw.choice(ids), "channel": draw.choice(MARKETING_CHANNELS),
         "state": draw.choice(("ok", "ok", "missing", "bounced", "dead")), "at": instant(draw)}
        for _ in range(customers * 4)
    ]  # fmt: skip
    tables["cases"] = [_case(draw, i, draw.choice(ids)) for i in range(customers)]
    tables["notes"] = [_note(draw, draw.choice(ids), flag) for flag in ("divorced", "moving") for _ in ids]
    tables["notes"] = list({(n["customer_id"], n["flag"], n["at"]): n for n in tables["notes"]}.values())
    return tables


def _note(draw: random.Random, customer: str, flag: str) -> dict[str, Any]:
    return {"customer_id": customer, "flag": flag, "at": instant(draw), "until": draw.choice((None, _day(draw)))}


def instant(draw: random.Random) -> datetime:
    """An instant in the history; every third one sits on a border where windows go wrong."""
    if draw.random() < 0.33:
        nights = (datetime(2025, 3, 30), datetime(2024, 10, 27), datetime(2025, 10, 26),
                  datetime(2025, 6, 15), datetime(2025, 12, 1))  # fmt: skip
        hours = draw.choice((-1, 0, 0, 1, 2, 23))
        edge = draw.choice((-1, 0, 0, 1))
        return (draw.choice(nights) + timedelta(hours=hours, microseconds=edge)).replace(tzinfo=UTC)
    seconds = int((END - START).total_seconds())
    return START + timedelta(seconds=draw.randrange(seconds), microseconds=draw.randrange(10**6))


def _customer(draw: random.Random, customer: str) -> dict[str, Any]:
    assessed = draw.choice((None, _day(draw)))
    return {
        "customer_id": customer,
        "household_id": draw.choice((None, None, f"H{draw.randrange(6)}")),
        "kind": draw.choice(("person", "person", "corporate")),
        "birth_date": draw.choice(
            (None, date(1950 + draw.randrange(60), 2, 28 + draw.randrange(1)), date(2004, 2, 29))
        ),
        "joined_on": draw.choice((None, date(2020, 1, 1), _day(draw))),
        "home_branch": "B1",
        "manager_id": None,
        "time_zone": "Europe/London",
        "language": "en",
        "do_not_contact": draw.random() < 0.1,
        "no_profiling": False,
        "deceased": None,
        "staff": False,
        "vulnerable": False,
        "fraud_lock": False,
        "arrears_days": 0,
        "risk_tolerance": draw.randrange(1, 6) if assessed else None,
        "risk_assessed_on": assessed,
        "credit_grade": None,
    }


def _day(draw: random.Random) -> date:
    return (START + timedelta(days=draw.randrange(480))).date()


def _accounts(draw: random.Random, tables: Tables, ids: list[str]) -> None:
    tables["accounts"], tables["holders"] = [], []
    for i in range(len(ids) * 2):
        product = draw.choice(tables["products"])
        opened = draw.choice((date(2023, 1, 1), _day(draw)))
        tables["accounts"].append(
            {
                "account_id": f"A{i:03d}",
                "product": product["product"],
                "currency": product["currency"],
                "opened_on": opened,
                "closed_on": draw.choice((None, None, None, _day(draw))),
                "matures_on": draw.choice((None, _day(draw))),
                "limit_minor": None,
            }
        )
        for j, customer in enumerate(draw.sample(ids, draw.choice((1, 1, 2)))):
            role = draw.choice(("joint", "authorised")) if j else "owner"
            tables["holders"].append({"account_id": f"A{i:03d}", "customer_id": customer, "role": role})


def _transactions(draw: random.Random, tables: Tables, ids: list[str], n: int) -> None:
    owner = {h["account_id"]: h["customer_id"] for h in reversed(tables["holders"])}
    rows: Rows = []
    for i in range(n):
        account = draw.choice(tables["accounts"])
        booked = instant(draw)
        late = draw.choice((0, 0, 0, 1, 3600, 86_400 * 3, 86_400 * 40, 86_400 * 120))
        kind = draw.choice(TRANSACTION_KINDS)
        sign = -1 if kind in ("cash_withdrawal", "transfer_out", "fx_sale", "purchase", "fee") else 1
        rows.append({
            "transaction_id": f"T{i:05d}", "account_id": account["account_id"],
            "customer_id": owner[account["account_id"]],
            "amount_minor": sign * draw.choice((0, 1, draw.randrange(10**6))),
            "currency": account["currency"], "kind": kind, "channel": (None, "atm", "app", "branch", "ATM", "Branch ", "other")[i % 7],
            "balance_after_minor": draw.choice((None, draw.randrange(-(10**4), 10**6))),
            "booked_at": booked, "recorded_at": booked + timedelta(seconds=late),
        })  # fmt: skip
    tables["transactions"] = [row for row in rows if row["recorded_at"] <= NOW]


def _salaries(draw: random.Random, tables: Tables, n: int) -> Rows:
    """Transfers in, a fortnight or a month apart or nearly so, of like amounts or nearly so, some booked as salaries."""
    owner, rows = {h["account_id"]: h["customer_id"] for h in reversed(tables["holders"])}, Rows()
    for account in tables["accounts"][:n]:
        apart, amount, at = (
            draw.choice((14, 30, 31)),
            draw.choice((10, 200_000)),
            START + timedelta(days=draw.randrange(40)),
        )
        while at < END:
            at += timedelta(days=apart + draw.choice((0, 0, 0, 0, 1, -2, 4, 6)), hours=draw.randrange(24))
            rows.append({
                "transaction_id": f"S{len(rows):05d}", "account_id": account["account_id"], "customer_id": owner[account["account_id"]],
                "amount_minor": amount * draw.choice((100, 100, 95, 90, 91, 89)), "currency": account["currency"],
                "kind": draw.choice(("transfer_in",) * 9 + ("salary",)), "channel": draw.choice((None, "online", "pos")),
                "balance_after_minor": None, "booked_at": at, "recorded_at": at + timedelta(hours=draw.choice((0, 0, 0, 40))),
            })  # fmt: skip
    return [row for row in rows if row["recorded_at"] <= NOW]


def _contacts(draw: random.Random, tables: Tables, ids: list[str]) -> None:
    tables["contacts"], tables["outcomes"] = [], []
    for i in range(len(ids) * 12):
        at = instant(draw)
        tables["contacts"].append({
            "contact_id": f"K{i:04d}", "customer_id": draw.choice(ids), "campaign_id": None,
            "offer_id": ("card_gold", "deposit_gbp_6m", None)[i % 3], "channel": draw.choice(MARKETING_CHANNELS),
            "direction": draw.choice(("outbound", "outbound", "inbound")),
            "purpose": draw.choice(("marketing", "marketing", "service")), "decided_at": at,
            "sent_at": draw.choice((None, at, at, at)), "p_chosen": None, "answer_by": None,
        })  # fmt: skip
        for kind in draw.sample(("opened", "accepted", "refused", "delivered", "complained"),
                                draw.choice((0, 0, 1, 2))):  # fmt: skip
            said = at + timedelta(hours=draw.choice((0, 1, 50)))
            if said <= NOW:
                tables["outcomes"].append({"contact_id": f"K{i:04d}", "kind": kind, "at": said})


def _consents(draw: random.Random, ids: list[str]) -> Rows:
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for _ in range(len(ids) * 8):
        at = instant(draw)
        row = {
            "customer_id": draw.choice(ids),
            "purpose": draw.choice(("marketing", "marketing", "profiling")),
            "channel": draw.choice(("all", *MARKETING_CHANNELS)),
            "state": draw.choice(("granted", "granted", "denied", "withdrawn")),
            "source": None,
            "wording": None,
            "at": at,
            "expires_at": draw.choice((None, None, at + timedelta(days=draw.randrange(1, 200)))),
        }
        rows[row["customer_id"], row["purpose"], row["channel"], at, row["state"]] = row
        if draw.random() < 0.1:  # both, in one file that knows days only
            rows[row["customer_id"], row["purpose"], row["channel"], at, "denied"] = {**row, "state": "denied"}
    return list(rows.values())


def _case(draw: random.Random, i: int, customer: str) -> dict[str, Any]:
    opened = instant(draw)
    closed = draw.choice((None, opened + timedelta(days=draw.randrange(60))))
    kind = draw.choice(("complaint", "complaint", "hardship", "fraud", "bereavement", "other"))
    return {"case_id": f"F{i}", "customer_id": customer, "kind": kind, "opened_at": opened,
            "closed_at": min(closed, NOW) if closed else None}  # fmt: skip
