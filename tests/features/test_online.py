"""One customer in plain Python, many in Polars, and the features computed afresh: all the same."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from features.base import TEXT_BYTES, Row
from features.intake import import_tables
from features.store import FeatureStore, StoreError
from features.tables import TRANSACTION_KINDS
from tests.feature_bank import CURRENCIES, Rows, Tables, made_up_bank, small_home, write_tables

T0 = datetime(2025, 12, 10, 7, 0, tzinfo=UTC)
CHANNELS = ("all", "sms", "email", "call")


def ledger() -> sa.Connection:
    connection = sa.create_engine("sqlite://").connect()
    for table in ("events (event_id, customer_id, kind, amount_minor, currency, balance_after_minor, booked_at,"
                  " recorded_at, received_at, transaction_id)",
                  "consents (consent_id, customer_id, purpose, channel, state, source, wording, at, received_at)"):  # fmt: skip
        connection.execute(sa.text(f"CREATE TABLE {table}"))
    return connection


def micros(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000_000)


def post(connection: sa.Connection, table: str, **row: Any) -> None:
    bound = ", ".join(f":{name}" for name in row)
    connection.execute(sa.text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({bound})"), row)


def event(row: dict[str, Any], **changed: Any) -> dict[str, Any]:
    told = {**row, **changed}
    instants = {name: micros(told[name]) for name in ("booked_at", "recorded_at")}
    names = ("customer_id", "kind", "amount_minor", "currency", "balance_after_minor")
    return {"event_id": told["transaction_id"], **{name: told[name] for name in names}, **instants,
            "received_at": instants["recorded_at"]}  # fmt: skip


def store_of(tables: Tables, folder: Path) -> FeatureStore:
    home = small_home(folder / "home")
    import_tables(home, write_tables(tables, folder / "source"))
    return FeatureStore(home)


def heard(tables: Tables, seed: int) -> sa.Connection:
    """Events old and new, imported and not, late, without a balance, without money; words on marketing."""
    draw, connection = random.Random(seed), ledger()
    ids = [row["customer_id"] for row in tables["customers"]]
    for row in draw.sample(tables["transactions"], 60):
        post(connection, "events", **event(row))
    for i in range(150):
        booked = T0 + timedelta(hours=draw.randrange(-24 * 100, 70), microseconds=draw.randrange(9))
        row = {"transaction_id": f"E{i}", "customer_id": draw.choice(ids), "kind": draw.choice(TRANSACTION_KINDS),
               "amount_minor": draw.choice((None, 0, draw.randrange(-(10**6), 10**6))), "currency": draw.choice(CURRENCIES),
               "balance_after_minor": draw.choice((None, draw.randrange(-(10**4), 10**6))), "booked_at": booked,
               "recorded_at": booked + timedelta(hours=draw.choice((0, 0, 30)))}  # fmt: skip
        if row["amount_minor"] is None:
            row["currency"] = row["balance_after_minor"] = None
        post(connection, "events", **event(row))
    for i in range(120):
        at = micros(T0 + timedelta(hours=draw.choice((-24 * 30, -50, 1, 20, 60))))  # many of one instant
        post(connection, "consents", consent_id=str(i), customer_id=draw.choice(ids), purpose=draw.choice(("marketing", "profiling")),
             channel=draw.choice(CHANNELS), state=draw.choice(("granted", "denied", "withdrawn")), at=at,
             received_at=at + draw.choice((0, 0, 1, 2)))  # fmt: skip
    return connection


@pytest.mark.parametrize("seed", range(4))
def test_one_by_one_equals_all_at_once(tmp_path: Path, seed: int) -> None:
    tables = made_up_bank(seed)
    store = store_of(tables, tmp_path)
    store.build(T0)
    connection = heard(tables, seed)
    ids = [*(row["customer_id"] for row in tables["customers"]), "NOBODY"]
    for hours in (0, 5, 30, 70, 24 * 20):
        at = T0 + timedelta(hours=hours, microseconds=1)
        many = store.latest(ids, at, connection)
        assert many.num_rows > 12
        alone = [store.latest([customer], at, connection) for customer in ids]
        one_by_one = pa.Table.from_batches([batch for batch in alone if batch.num_rows])
        assert one_by_one.schema.equals(many.schema, check_metadata=True)
        for name in many.column_names:
            assert one_by_one[name].to_pylist() == many[name].to_pylist(), (name, hours)
        one_by_one.validate(full=True)
        rows = [row for customer in ids if (row := store.latest_row(customer, at, connection)) is not None]
        assert len(rows) == many.num_rows
        for place, row in enumerate(rows):  # the plain row, and one read back from a table
            assert plainly(store, row) == plainly(store, store.one_row.read(many, place))
            assert plainly(store, row) == {
                name: many[name][place].as_py() for name in many.column_names if name != "as_of"
            }
        assert one_by_one["age_years"].null_count == many["age_years"].null_count > 0


@pytest.mark.parametrize(("words", "state"), [
    ([("sms", "granted", 0), ("all", "withdrawn", 1)], "withdrawn"), ([("all", "withdrawn", 0), ("sms", "granted", 1)], "granted"),
    ([("all", "withdrawn", 0), ("sms", "granted", 0)], "granted"), ([("all", "granted", 0), ("sms", "denied", 0)], "denied"),
    ([("sms", "granted", 0), ("sms", "denied", 0)], "denied"), ([("sms", "granted", 0), ("sms", "withdrawn", 0)], "withdrawn"),
])  # fmt: skip
def test_of_words_of_one_instant_the_later_come_holds_then_the_narrower_then_the_no(
    tmp_path: Path, words: list[tuple[str, str, int]], state: str
) -> None:
    """Mutants: the narrower before the later come, a `do not contact` was lost; by the state's letters."""
    tables = made_up_bank(5, transactions=300)
    store = store_of(tables, tmp_path)
    store.build(T0)
    who, at = [row["customer_id"] for row in tables["customers"]][:2], micros(T0) + 9
    for order in (words, words[::-1]):
        connection = ledger()
        for place, (channel, said, later) in enumerate(order):
            post(connection, "consents", consent_id=str(place), customer_id=who[0], purpose="marketing", channel=channel,
                 state=said, at=at, received_at=at + later)  # fmt: skip
        for asked in (who[:1], who):
            found = store.latest(asked, T0 + timedelta(hours=1), connection)
            assert found["consent_marketing_sms"][0].as_py() == state


def test_a_worth_beyond_all_bounds_is_unknown_one_by_one_and_at_once(tmp_path: Path) -> None:
    """Mutant: without the bound, many at once break where one alone has a number."""
    tables = made_up_bank(5, transactions=300)
    for row in tables["customers"]:
        row["joined_on"] = None
    for row in tables["fx_rates"]:
        row["per_base"] = 1e-9
    store = store_of(tables, tmp_path)
    store.build(T0)
    connection, at = ledger(), T0 + timedelta(hours=5)
    ids = [row["customer_id"] for row in tables["customers"]]
    for place, amount in enumerate((-(10**15), -(10**6), -(10**6) - 1, -3)):
        row = {**withdrawal(tables, T0 + timedelta(hours=1)), "transaction_id": f"W{place}", "kind": "purchase"}
        post(
            connection, "events", **event(row, customer_id=ids[place], amount_minor=amount, balance_after_minor=amount)
        )
    many = store.latest(ids, at, connection)
    alone = pa.Table.from_batches([store.latest([customer], at, connection) for customer in ids])
    for name in many.column_names:
        assert alone[name].to_pylist() == many[name].to_pylist(), name
    assert [value is None for value in many["purchase_sum_30d"].to_pylist()[:3]] == [True, False, True]


def plainly(store: FeatureStore, row: Row) -> dict[str, Any]:
    one = store.one_row
    numbers = {n: None if v != v else v for n, v in zip(one.numbers, row.numbers)}  # noqa: B905  # parts follow
    flags = {n: None if v > 1 else bool(v) for n, v in zip(one.flags, row.flags, strict=True)}
    every = numbers | flags | dict(zip(one.texts, row.texts, strict=True))
    return {name: every[name] for name in store.schema.names if name != "as_of"}


def withdrawal(tables: Tables, booked: datetime) -> dict[str, Any]:
    account = next(a for a in tables["accounts"] if a["currency"] == "USD")
    owner = next(h for h in tables["holders"] if h["account_id"] == account["account_id"] and h["role"] == "owner")
    return {"transaction_id": "W", "account_id": account["account_id"], "customer_id": owner["customer_id"],
            "amount_minor": -70_000, "currency": "USD", "kind": "cash_withdrawal", "channel": None,
            "balance_after_minor": 30_000, "booked_at": booked, "recorded_at": booked}  # fmt: skip


def outflow(store: FeatureStore, row: dict[str, Any], at: datetime, connection: sa.Connection) -> float:
    one = store.latest([row["customer_id"]], at, connection)["outflow_usd_sum_30d"][0].as_py()
    ids = [f"C{n:03d}" for n in range(20)] + [row["customer_id"]]
    assert store.latest(ids, at, connection)["outflow_usd_sum_30d"][-1].as_py() == one
    return one


def test_an_event_the_bank_has_not_imported_outlives_a_newer_snapshot(tmp_path: Path) -> None:
    """The withdrawal was told to us; the nightly tables lack it, and then have it."""
    tables = made_up_bank(3)
    for row in tables["customers"]:
        row["joined_on"] = None
    row = withdrawal(tables, T0 + timedelta(hours=3))
    store = store_of(tables, tmp_path / "before")
    store.build(T0)
    connection = ledger()
    at = T0 + timedelta(days=2)
    without = outflow(store, row, at, connection)
    post(connection, "events", **event(row))
    assert outflow(store, row, at, connection) == without + 70_000
    store.build(T0 + timedelta(days=1))
    assert outflow(store, row, at, connection) == without + 70_000, "still not in the tables"
    caught_up: Rows = [*tables["transactions"], row]
    store = store_of({**tables, "transactions": caught_up}, tmp_path / "after")
    store.build(T0 + timedelta(days=1))
    assert outflow(store, row, at, connection) == without + 70_000, "once, not twice"


@pytest.mark.parametrize("stated", [None, 30_000])
def test_what_has_left_and_was_not_imported_is_not_in_the_balance_of_a_newer_snapshot(
    tmp_path: Path, stated: int | None
) -> None:
    tables = made_up_bank(3)
    for row in tables["customers"]:
        row["joined_on"] = None
    told = withdrawal(tables, T0 + timedelta(hours=3)) | {"balance_after_minor": stated}
    opened = {**told, "transaction_id": "D", "amount_minor": 10**6, "kind": "cash_deposit", "booked_at": T0 - timedelta(days=1),
              "recorded_at": T0 - timedelta(days=1), "balance_after_minor": 10**6}  # fmt: skip
    alone = [a for a in tables["accounts"] if a["account_id"] == told["account_id"]]
    holders = [{"account_id": told["account_id"], "customer_id": told["customer_id"], "role": "owner"}]
    tables |= {"transactions": [opened], "accounts": alone, "holders": holders}
    store, connection, at = store_of(tables, tmp_path / "before"), ledger(), T0 + timedelta(days=2)
    post(connection, "events", **event(told))
    for night in (T0, T0 + timedelta(days=1)):
        store.build(night)
        found = store.latest([told["customer_id"]], at, connection)["balance_usd_minor"][0].as_py()
        assert found == (10**6 - 70_000 if stated is None else stated)


@pytest.mark.parametrize("named", [True, False])
def test_an_event_that_names_its_booking_counts_once_whatever_its_own_id(tmp_path: Path, named: bool) -> None:
    """Mutant: the event's own id compared with those of bookings counts the withdrawal twice."""
    tables = made_up_bank(3)
    for row in tables["customers"]:
        row["joined_on"] = None
    row = withdrawal(tables, T0 - timedelta(hours=3))
    tables["transactions"].append(row)
    store, connection, at = store_of(tables, tmp_path), ledger(), T0 + timedelta(days=2)
    store.build(T0)
    once = outflow(store, row, at, connection)
    post(connection, "events", **event({**row, "transaction_id": "E-1"}), transaction_id="W" if named else None)
    assert outflow(store, row, at, connection) == once + (0 if named else 70_000)


@pytest.mark.parametrize("purpose", ["marketing", "profiling"])
def test_a_consent_ends_at_its_instant_and_not_with_the_night(tmp_path: Path, purpose: str) -> None:
    """Mutant: what was granted until six in the morning is granted until the next snapshot."""
    tables = made_up_bank(3, transactions=50)
    ends, who = T0 + timedelta(hours=6), "C001"
    said = {"customer_id": who, "purpose": purpose, "channel": "sms", "state": "granted", "source": None, "wording": None,
            "at": T0 - timedelta(days=2), "expires_at": ends}  # fmt: skip
    tables["consents"] = [said, {**said, "customer_id": "C002", "expires_at": T0 + timedelta(days=300)}]
    for row in tables["customers"]:
        row["joined_on"] = None
    store, connection = store_of(tables, tmp_path), ledger()
    store.build(T0)
    name = "consent_profiling" if purpose == "profiling" else "consent_marketing_sms"
    for at, states in ((ends - timedelta(microseconds=1), ["granted", "granted"]), (ends, ["none", "granted"])):
        pairs = pa.table({"customer_id": [who, "C002"], "as_of": pa.array([at] * 2, pa.timestamp("us", "UTC"))})
        assert store.as_of(pairs)[name].to_pylist() == states
        assert store.latest([who, "C002"], at, connection)[name].to_pylist() == states, "one by one"
        many = [f"C{n:03d}" for n in range(1, 15)]
        assert store.latest(many, at, connection)[name].to_pylist()[:2] == states, "many at once"
    if purpose == "marketing":  # a grant told since outlives it
        post(connection, "consents", consent_id="1", customer_id=who, purpose=purpose, channel="sms", state="granted",
             at=micros(T0 + timedelta(hours=1)), received_at=micros(T0 + timedelta(hours=1)))  # fmt: skip
        assert store.latest([who], ends, connection)[name].to_pylist() == ["granted"]


@pytest.mark.parametrize(("role", "balance"), [("owner", 999_999), ("authorised", -100), (None, None)])
def test_the_balance_of_an_account_he_does_not_own_is_not_his(
    tmp_path: Path, role: str | None, balance: int | None
) -> None:
    """Mutant: a clerk who draws a dollar from the firm's account holds the firm's millions until the next night."""
    tables = made_up_bank(3)
    for row in tables["customers"]:
        row["joined_on"] = None
    told = withdrawal(tables, T0 + timedelta(hours=3)) | {"amount_minor": -100, "balance_after_minor": 999_999}
    account = {**tables["accounts"][0], "account_id": "FIRM", "currency": "USD", "closed_on": None}
    tables |= {"transactions": [{**told, "transaction_id": "B", "account_id": None, "currency": "GBP", "booked_at": T0 - timedelta(days=9),
                                 "recorded_at": T0 - timedelta(days=9)}], "accounts": [account]}  # fmt: skip
    tables["holders"] = [{"account_id": "FIRM", "customer_id": told["customer_id"], "role": role}]
    if role is None:
        tables = {name: rows for name, rows in tables.items() if name not in ("accounts", "holders")}
    store, connection = store_of(tables, tmp_path), ledger()
    post(connection, "events", **event(told))
    store.build(T0)
    found = store.latest([told["customer_id"]], T0 + timedelta(days=1), connection)
    assert found["balance_usd_minor"][0].as_py() == balance
    if role != "owner":
        assert found["outflow_share_usd_14d"][0].as_py() == (1.0 if role else None)


def test_a_text_too_long_for_the_message_takes_the_slow_road(tmp_path: Path) -> None:
    """Mutant: one byte more than there is room for, and the column behind it is overwritten."""
    tables, branches = made_up_bank(3, transactions=200), ["x" * TEXT_BYTES, "x" * (TEXT_BYTES + 1), "银" * TEXT_BYTES]
    for row, branch in zip(tables["customers"], branches, strict=False):
        row |= {"home_branch": branch, "joined_on": None}
    store = store_of(tables, tmp_path)
    store.build(T0)
    ids = [row["customer_id"] for row in tables["customers"][: len(branches)]]
    alone, many = [store.latest([one], T0, None) for one in ids], store.latest(ids, T0, None)
    assert many["home_branch"].to_pylist() == branches
    assert [row for batch in alone for row in batch.to_pylist()] == many.to_pylist()
    fits = [store.one_row.batch(row, 0) is not None for row in store.latest_rows(ids, T0, None).values()]
    assert fits == [True, False, False]


def test_a_snapshot_of_an_older_version_is_refused(tmp_path: Path) -> None:
    store = store_of(made_up_bank(3, transactions=200), tmp_path)
    store.build(T0)
    base = store.newest()
    assert base is not None
    with pytest.raises(StoreError) as error:
        store.overlay(base.table.drop(["_drops"]), T0, base.table, base.table)
    assert str(error.value) == "the snapshot lacks `_drops`: it is of an older version; run nbo features build"
