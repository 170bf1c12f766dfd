"""The online road: a base with the events since equals the features computed afresh."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from features.home import Home
from features.intake import import_tables
from features.measures import RATIOS, windows
from features.store import FeatureStore, StoreError
from tests.feature_bank import CURRENCIES, Rows, Tables, made_up_bank, small_home, write_tables

T0 = datetime(2025, 12, 10, 0, 0, tzinfo=UTC)
T1 = datetime(2025, 12, 10, 18, 30, tzinfo=UTC)
EVENT_FIELDS = ("customer_id", "kind", "amount_minor", "currency", "balance_after_minor", "booked_at",
                "recorded_at")  # fmt: skip
CONSENT = pa.schema([
    *((n, pa.string()) for n in ("customer_id", "purpose", "channel", "state")),
    *((n, pa.timestamp("us", "UTC")) for n in ("at", "received_at")),
])  # fmt: skip
EVENT = pa.schema([
    ("event_id", pa.string()), ("customer_id", pa.string()), ("kind", pa.string()),
    ("amount_minor", pa.int64()), ("currency", pa.string()), ("balance_after_minor", pa.int64()),
    *((n, pa.timestamp("us", "UTC")) for n in ("booked_at", "recorded_at")),
])  # fmt: skip


def bank() -> Tables:
    """One account a customer and currency, for an event does not say which account it moved."""
    tables = made_up_bank(11)
    holders, seen = [], set[tuple[str, str]]()
    currency = {a["account_id"]: a["currency"] for a in tables["accounts"]}
    for holder in tables["holders"]:
        key = (holder["customer_id"], currency[holder["account_id"]])
        if key not in seen and holder["role"] == "owner":
            seen.add(key)
            holders.append(holder)
    tables["holders"] = holders
    for account in tables["accounts"]:
        account["closed_on"] = None
    owner = {h["account_id"]: h["customer_id"] for h in holders}
    tables["transactions"] = [
        {**row, "customer_id": owner[row["account_id"]]}
        for row in tables["transactions"]
        if row["account_id"] in owner and row["recorded_at"] <= T0 and row["booked_at"] < T0
    ]
    for table, clock in (("consents", "at"), ("cases", "opened_at"), ("contacts", "decided_at")):
        tables[table] = [row for row in tables[table] if row[clock] < T0]
    sent = {row["contact_id"] for row in tables["contacts"]}
    tables["outcomes"] = [row for row in tables["outcomes"] if row["contact_id"] in sent]
    return tables


def day_of_events(tables: Tables) -> Rows:
    """Bookings of [T0, T1) on the accounts, as transactions; every third states no balance."""
    rows: Rows = []
    kinds = ("cash_withdrawal", "salary", "transfer_out", "purchase", "transfer_in", "fx_sale")
    currency = {a["account_id"]: a["currency"] for a in tables["accounts"]}
    for i, holder in enumerate(tables["holders"] * 3):
        kind = kinds[i % len(kinds)]
        sign = -1 if kind in ("cash_withdrawal", "transfer_out", "fx_sale", "purchase") else 1
        booked = T0 + timedelta(minutes=11 * (i % 97))
        rows.append({
            "transaction_id": f"E{i:03d}", "account_id": holder["account_id"],
            "customer_id": holder["customer_id"], "amount_minor": sign * (1000 + i),
            "currency": currency[holder["account_id"]], "kind": kind, "channel": None,
            "balance_after_minor": None if i % 3 else 5000 + i, "booked_at": booked,
            "recorded_at": booked,
        })  # fmt: skip
    return rows


def event_table(rows: Rows) -> pa.Table:
    named = [{**row, "event_id": row["transaction_id"]} for row in rows]
    return pa.Table.from_pylist([{k: row[k] for k in EVENT.names} for row in named], schema=EVENT)


def store_of(tables: Tables, folder: Path) -> tuple[Home, FeatureStore]:
    home = small_home(folder / "home")
    import_tables(home, write_tables(tables, folder / "source"))
    return home, FeatureStore(home)


def built(tables: Tables, folder: Path) -> tuple[FeatureStore, pa.Table]:
    """A store with a snapshot of T0, and its rows."""
    _, store = store_of(tables, folder)
    store.build(T0)
    base = store.newest()
    assert base is not None
    return store, base.table


def touched() -> list[str]:
    """Every feature that is rolled to the present."""
    names = [f"balance_{c.lower()}_minor" for c in CURRENCIES] + ["balance_total_minor"]
    names += [w.name for w in windows(CURRENCIES) if not w.name.startswith("_")]
    names += [f"outflow_share_{c.lower()}_{d}d" for c in CURRENCIES for d in (14, 30)]
    names += [*RATIOS, "days_since_last_transaction", "days_since_last_purchase"]
    return [*names, "days_since_last_contact", "days_since_last_complaint"]


@pytest.mark.parametrize("now", [T1, T0 + timedelta(hours=35), T0 + timedelta(days=3, hours=5)])
def test_base_with_events_equals_features_computed_afresh(tmp_path: Path, now: datetime) -> None:
    """Also after midnights, when the tails of the windows have moved on."""
    tables = bank()
    events = day_of_events(tables)
    before, base = built(tables, tmp_path / "before")
    later = {**tables, "transactions": [*tables["transactions"], *events]}
    _, after = store_of(later, tmp_path / "after")
    asked = pa.table({"customer_id": base["customer_id"],
                      "as_of": pa.array([now] * base.num_rows, pa.timestamp("us", "UTC"))})  # fmt: skip
    afresh = after.as_of(asked)
    # A repeated event and one of the future change nothing.
    noise = [events[0], {**events[1], "transaction_id": "LATE", "recorded_at": now + timedelta(seconds=1)}]
    found = before.overlay(base, now, event_table([*events, *noise]), CONSENT.empty_table())
    assert found.schema.equals(before.schema)
    for name in touched():
        assert found[name].to_pylist() == pytest.approx(afresh[name].to_pylist(), nan_ok=True), name
    alone = [before.overlay(base, now, event_table(events), CONSENT.empty_table(), pa.array([row])) for row in range(8)]
    assert pa.concat_tables(alone).equals(found.slice(0, 8)), "a row alone is, to the bit, what it is among others"
    changed = [n for n in touched() if found[n].to_pylist() != base[n].to_pylist()]
    assert "balance_usd_minor" in changed and "outflow_share_usd_14d" in changed


def test_consents_follow_the_word_said_last(tmp_path: Path) -> None:
    tables = bank()
    said = [row for row in made_up_bank(12)["consents"] if T0 - timedelta(40) <= row["at"] < T1]
    said = [{**row, "expires_at": None} for row in said]
    for row in tables["consents"]:
        row["expires_at"] = None
    before, base = built(tables, tmp_path / "before")
    keys = {(r["customer_id"], r["purpose"], r["channel"], r["at"]) for r in tables["consents"]}
    said = [r for r in said if (r["customer_id"], r["purpose"], r["channel"], r["at"]) not in keys]
    assert len(said) > 5
    _, after = store_of({**tables, "consents": [*tables["consents"], *said]}, tmp_path / "after")
    asked = pa.table({"customer_id": base["customer_id"],
                      "as_of": pa.array([T1] * base.num_rows, pa.timestamp("us", "UTC"))})  # fmt: skip
    rows = [{**{k: r[k] for k in ("customer_id", "purpose", "channel", "state", "at")},
             "received_at": r["at"]} for r in said]  # fmt: skip
    found = before.overlay(base, T1, EVENT.empty_table(), pa.Table.from_pylist(rows, schema=CONSENT))
    afresh = after.as_of(asked)
    for channel in ("sms", "email", "app", "call", "branch", "mail"):
        name = f"consent_marketing_{channel}"
        assert found[name].equals(afresh[name]), name
        assert found[f"{name}_age_days"].equals(afresh[f"{name}_age_days"]), name


def test_what_concerns_nobody_here_changes_nothing(tmp_path: Path) -> None:
    """Words of strangers, on profiling, and of later: none is left of them."""
    tables = bank()
    store, base = built(tables, tmp_path)
    his = base["customer_id"][0].as_py()
    told = [("NOBODY", "marketing", "all", T0), (his, "profiling", "all", T0), (his, "marketing", None, T0),
            (his, "marketing", "all", T1 + timedelta(hours=1))]  # fmt: skip
    rows = [{"customer_id": who, "purpose": purpose, "channel": channel, "state": "denied", "at": at, "received_at": at}
            for who, purpose, channel, at in told]  # fmt: skip
    heard = [{**day_of_events(tables)[0], "customer_id": "NOBODY"}]
    alone = store.overlay(base, T1, EVENT.empty_table(), CONSENT.empty_table())
    for wanted in ([], [rows[0]], rows):
        said = pa.Table.from_pylist(wanted, schema=CONSENT)
        assert store.overlay(base, T1, event_table(heard), said).equals(alone)


def test_balances_are_added_up_as_whole_numbers(tmp_path: Path) -> None:
    """Forty bookings of 10**15 and of 1 a time: as floats the ones would go."""
    tables = bank()
    store, base = built(tables, tmp_path)
    one = next(row for row in day_of_events(tables) if row["kind"] == "salary" and row["currency"] == "GBP")
    amounts = [10**15] * 40 + [1] * 7
    rows = [{**one, "transaction_id": f"X{n}", "amount_minor": amount, "balance_after_minor": None}
            for n, amount in enumerate(amounts)]  # fmt: skip
    place = base["customer_id"].to_pylist().index(one["customer_id"])
    before = base["balance_gbp_minor"][place].as_py()
    found = store.overlay(base, T1, event_table(rows), CONSENT.empty_table())
    assert found["balance_gbp_minor"][place].as_py() == float(int(before) + sum(amounts))


@pytest.fixture(params=["sqlite", "postgresql"])
def connection(request: pytest.FixtureRequest) -> Generator[sa.Connection]:
    """An empty ledger."""
    engine = sa.create_engine("sqlite://" if request.param == "sqlite" else request.getfixturevalue("server"))
    with engine.connect() as found:
        found.execute(sa.text(
            "CREATE TABLE events (event_id TEXT, customer_id TEXT, kind TEXT, amount_minor BIGINT, currency TEXT,"
            " balance_after_minor BIGINT, booked_at BIGINT, recorded_at BIGINT,"
            " transaction_id TEXT)"
        ))  # fmt: skip
        found.execute(sa.text(
            "CREATE TABLE consents (consent_id TEXT, customer_id TEXT, purpose TEXT, channel TEXT, state TEXT, at BIGINT,"
            " received_at BIGINT)"
        ))  # fmt: skip
        yield found
    engine.dispose()


def micros(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000


def post(connection: sa.Connection, **row: Any) -> None:
    columns = ", ".join(row)
    bound = ", ".join(f":{name}" for name in row)
    table = "events" if "event_id" in row else "consents"
    connection.execute(sa.text(f"INSERT INTO {table} ({columns}) VALUES ({bound})"), row)


def test_latest_reads_the_ledger_and_honours_at(tmp_path: Path, connection: sa.Connection) -> None:
    _, store = store_of(bank(), tmp_path)
    store.build(T0)
    booked = T0 + timedelta(hours=2)
    post(
        connection,
        event_id="1",
        customer_id="C003",
        kind="cash_withdrawal",
        amount_minor=-700,
        currency="USD",
        balance_after_minor=300,
        booked_at=micros(booked),
        recorded_at=micros(booked),
    )
    post(connection, consent_id="1", customer_id="C003", purpose="marketing", channel="all",
         state="withdrawn", at=micros(booked), received_at=micros(booked))  # fmt: skip
    early = store.latest(["C003"], T0 + timedelta(hours=1), connection).to_pylist()[0]
    late = store.latest(["C004", "NOBODY", "C003"], T1, connection).to_pylist()
    assert [row["customer_id"] for row in late] == ["C004", "C003"]
    assert [row["as_of"] for row in late] == [T1, T1]
    alone = store.latest(["C003"], T1, connection).to_pylist()[0]
    assert alone == late[1], "one customer is asked for by another statement than several"
    many = store.latest(store.newest(T1).ids.to_list(), T1, connection).to_pylist()  # pyright: ignore[reportOptionalMemberAccess]
    assert next(row for row in many if row["customer_id"] == "C003") == alone
    assert late[1]["balance_usd_minor"] == 300.0
    gone = late[1]["outflow_usd_sum_14d"]
    assert gone == early["outflow_usd_sum_14d"] + 700
    assert late[1]["outflow_share_usd_14d"] == gone / (gone + 300)
    assert late[1]["consent_marketing_sms"] == late[1]["consent_marketing_mail"] == "withdrawn"
    base = store.newest()
    assert base is not None
    for name in ("balance_usd_minor", "consent_marketing_sms", "outflow_share_usd_14d"):
        assert early[name] == base.rows(["C003"])[name][0].as_py(), name


def test_a_base_older_than_the_window_has_no_flow_left_in_it(tmp_path: Path) -> None:
    _, store = store_of(bank(), tmp_path)
    store.build(T0)
    base = store.newest()
    assert base is not None
    late = store.overlay(base.table, T0 + timedelta(days=20), EVENT.empty_table(), CONSENT.empty_table())
    assert any(base.table["outflow_usd_sum_14d"].to_pylist())
    assert not any(late["outflow_usd_sum_14d"].to_pylist())
    assert any(late["outflow_usd_sum_30d"].to_pylist())
    assert not any(late["outflow_share_usd_14d"].to_pylist())


def test_latest_without_a_snapshot_says_how_to_get_one(tmp_path: Path) -> None:
    home, store = store_of(bank(), tmp_path)
    with pytest.raises(StoreError) as error:
        store.latest(["C003"], T1, None)
    assert str(error.value) == f"`{home.features}` holds no snapshot; run nbo features build"
