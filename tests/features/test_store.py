"""as_of, snapshot, latest: equal to the plain oracle, and blind to the future."""

import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pytest

from features.days import day_manifest
from features.home import Home
from features.intake import import_tables
from features.settings import write_settings
from features.source import Source
from features.store import FeatureStore, StoreError
from features.tables import MARKETING_CHANNELS
from tests.feature_bank import (
    CURRENCIES,
    END,
    NOW,
    Tables,
    instant,
    made_up_bank,
    small_home,
    write_tables,
)
from tests.feature_oracle import features_of

STAMP = pa.timestamp("us", "UTC")
LONDON = ZoneInfo("Europe/London")


def home_with(tables: Tables, folder: Path, zone: str = "Europe/London") -> Home:
    home = small_home(folder / "home", zone)
    report = import_tables(home, write_tables(tables, folder / "source"))
    assert report.rejected == 0 or all("fx_rates" in line for line in report.lines())
    return home


def entities(pairs: list[tuple[str, datetime]]) -> pa.Table:
    return pa.table({
        "n": pa.array(range(len(pairs))), "customer_id": [c for c, _ in pairs],
        "as_of": pa.array([t for _, t in pairs], STAMP),
    })  # fmt: skip


def some_pairs(seed: int, n: int, customers: int = 30) -> list[tuple[str, datetime]]:
    draw = random.Random(seed)
    return [(f"C{draw.randrange(customers):03d}", instant(draw)) for _ in range(n)]


def same(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and expected is not None:
        return found == pytest.approx(float(expected), rel=1e-12, abs=1e-12)
    return found == expected


def differences(home: Home, tables: Tables, pairs: list[tuple[str, datetime]]) -> list[str]:
    """Every feature of every pair in which store and oracle differ."""
    zone = home.settings.tz
    rows = FeatureStore(home).as_of(entities(pairs)).to_pylist()
    wrong: list[str] = []
    for (customer, as_of), row in zip(pairs, rows, strict=True):
        assert row["customer_id"] == customer
        expected = features_of(tables, customer, as_of, zone, "GBP", CURRENCIES)
        wrong += [f"{n} at {as_of}: {row[n]} is not {v}" for n, v in expected.items() if not same(row[n], v)]
        assert set(row) == {"n", "customer_id", "as_of", *expected}
    return wrong


@pytest.mark.parametrize("n", [40, pytest.param(120, marks=pytest.mark.long)])
@pytest.mark.parametrize(("seed", "zone"), [
    (0, "Europe/London"), (1, "Asia/Shanghai"), (2, "America/Santiago"), (3, "Australia/Lord_Howe"),
])  # fmt: skip
def test_as_of_equals_the_oracle(tmp_path: Path, seed: int, zone: str, n: int) -> None:
    """Late rows, ties, DST nights; Santiago's clocks jump over midnight."""
    tables = made_up_bank(seed, salaries=25)
    home = home_with(tables, tmp_path, zone)
    assert differences(home, tables, some_pairs(seed, n)) == []


def test_as_of_keeps_rows_order_repeats_and_other_columns(tmp_path: Path) -> None:
    tables = made_up_bank(4, transactions=300)
    store = FeatureStore(home_with(tables, tmp_path))
    pairs = some_pairs(4, 20)
    asked = entities([*pairs, *pairs[::-1]])
    found = store.as_of(asked)
    assert found.select(["n", "customer_id", "as_of"]).equals(asked)
    features = found.drop(["n", "customer_id", "as_of"])
    assert features.slice(0, 20).equals(features.slice(20).take(list(range(19, -1, -1))))
    assert found.schema.names[3:] == store.schema.names[3:]


def test_a_row_alone_is_to_the_bit_what_it_is_among_others(tmp_path: Path) -> None:
    """Polars divides a column of one row otherwise than a longer one; ages must not depend on who is asked with whom."""
    tables = made_up_bank(6, transactions=300)
    store = FeatureStore(home_with(tables, tmp_path))
    pairs = some_pairs(6, 12)
    together = store.as_of(entities(pairs)).drop(["n"])
    for place, pair in enumerate(pairs):
        assert store.as_of(entities([pair])).drop(["n"]).equals(together.slice(place, 1)), pair


def test_a_snapshot_equals_as_of_at_its_instant_byte_for_byte(tmp_path: Path) -> None:
    tables = made_up_bank(5)
    home = home_with(tables, tmp_path)
    store = FeatureStore(home)
    first = store.build(datetime(2025, 10, 26, 0, 30, tzinfo=UTC)).read_bytes()
    snapshot = store.newest()
    assert snapshot is not None
    rows = snapshot.table.select(store.schema.names)
    ids = rows.column("customer_id").to_pylist()
    joined = {c["customer_id"]: c["joined_on"] for c in tables["customers"]}
    assert ids == [c for c, day in joined.items() if day is None or day <= snapshot.as_of.date()]
    found = store.as_of(rows.select(["customer_id", "as_of"]))
    assert found.select(rows.schema.names[3:]).equals(rows.select(rows.schema.names[3:]))
    assert FeatureStore(home).build(snapshot.as_of).read_bytes() == first
    assert rows.schema.equals(store.schema, check_metadata=True)


CUT = datetime(2025, 7, 1, 9, tzinfo=UTC)


def with_leaks(tables: Tables) -> Tables:
    """Planted leaks: bookings before CUT that the source learns of after it, and bookings at CUT."""
    planted = [
        {**row, "transaction_id": f"LEAK{i}", "booked_at": CUT - timedelta(days=i % 40),
         "recorded_at": CUT + timedelta(microseconds=1 + i), "amount_minor": -(10**8),
         "kind": "cash_withdrawal", "balance_after_minor": 0}
        for i, row in enumerate(tables["transactions"][:200])
    ] + [
        {**row, "transaction_id": f"NOW{i}", "booked_at": CUT, "recorded_at": CUT,
         "amount_minor": 10**8, "kind": "salary"}
        for i, row in enumerate(tables["transactions"][:50])
    ]  # fmt: skip
    return {**tables, "transactions": [*tables["transactions"], *planted]}


def at(cut: datetime) -> pa.Table:
    return entities([(f"C{i:03d}", cut) for i in range(30)])


def spread(cut: datetime) -> pa.Table:
    """Instants of their own, so that the sorted road is gone."""
    return entities([(f"C{i:03d}", cut - timedelta(microseconds=i % 2)) for i in range(30)])


@pytest.mark.parametrize("pairs", [at, spread])
def test_p28_a_row_recorded_after_t_never_changes_features_at_t(
    tmp_path: Path, pairs: Callable[[datetime], pa.Table]
) -> None:
    tables = made_up_bank(6, transactions=800)
    honest = FeatureStore(home_with(tables, tmp_path / "a"))
    leaky = FeatureStore(home_with(with_leaks(tables), tmp_path / "b"))
    assert leaky.as_of(pairs(CUT)).equals(honest.as_of(pairs(CUT)))
    later = CUT + timedelta(days=1)
    assert not leaky.as_of(pairs(later)).equals(honest.as_of(pairs(later)))


@pytest.mark.parametrize("pairs", [at, spread])
@pytest.mark.parametrize("clock", ["recorded_at", "booked_at"])
def test_p28_mutant_that_does_not_look_at_one_of_the_clocks_is_caught(
    tmp_path: Path, pairs: Callable[[datetime], pa.Table], clock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = made_up_bank(6, transactions=800)
    honest = FeatureStore(home_with(tables, tmp_path / "a")).as_of(pairs(CUT))
    read = Source.rows

    def blind(source: Source, table: str, *given: Any, **named: Any) -> pl.DataFrame:
        """What was recorded late counts as recorded when it was booked; what is booked now, as booked before."""
        rows = read(source, table, *given, **named)
        if table != "transactions":
            return rows
        seen = pl.col("booked_at") if clock == "recorded_at" else pl.col("booked_at") - 2
        return rows.with_columns(seen.alias(clock))

    monkeypatch.setattr(Source, "rows", blind)
    assert not FeatureStore(home_with(with_leaks(tables), tmp_path / "b")).as_of(pairs(CUT)).equals(honest)


@pytest.mark.parametrize("table", ["consents", "reachability", "contacts", "outcomes", "cases"])
def test_p28_what_happens_at_t_or_later_is_unknown_at_t(tmp_path: Path, table: str) -> None:
    tables = made_up_bank(7, transactions=100)
    clock = {"contacts": "sent_at", "cases": "opened_at"}.get(table, "at")
    cut = sorted(row[clock] for row in tables[table] if row[clock])[len(tables[table]) // 2]
    before = [row for row in tables[table] if row[clock] and row[clock] < cut]
    if table == "contacts":
        kept = {row["contact_id"] for row in before}
        tables["outcomes"] = [row for row in tables["outcomes"] if row["contact_id"] in kept]
    pairs = entities([(f"C{i:03d}", cut) for i in range(30)])
    whole = FeatureStore(home_with(tables, tmp_path / "a")).as_of(pairs)
    past = FeatureStore(home_with({**tables, table: before}, tmp_path / "b")).as_of(pairs)
    assert whole.equals(past)


@pytest.mark.parametrize("n", [24, pytest.param(60, marks=pytest.mark.long)])
def test_many_passes_give_what_one_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    store = FeatureStore(home_with(made_up_bank(8), tmp_path))
    pairs = entities(some_pairs(8, n))
    whole = store.as_of(pairs)
    monkeypatch.setattr("features.compute.PAIRS_A_PASS", 7)
    monkeypatch.setattr("features.segments.LAID_OUT", 3)
    assert store.as_of(pairs).equals(whole)
    monkeypatch.setattr("features.dealt.ROWS_A_SHARE", 300)
    assert store.as_of(pairs).equals(whole)
    monkeypatch.setattr("features.source.FEW", 0)
    assert store.as_of(pairs).equals(whole), "of many customers rows are joined, of few they are looked for"


def test_what_a_bank_does_not_give_is_null_or_as_declared(tmp_path: Path) -> None:
    tables = made_up_bank(9, transactions=50)
    few = {name: tables[name] for name in ("customers", "transactions")}
    pair = entities([("C001", END)])
    silent = FeatureStore(home_with(few, tmp_path / "a")).as_of(pair).to_pylist()[0]
    for name in ("consent_marketing_sms", "reachable_sms", "complaint_open", "balance_usd_minor",
                 "outflow_share_usd_14d", "n_accounts", "contacts_sms_count_30d"):  # fmt: skip
        assert silent[name] is None, name
    source = write_tables(few, tmp_path / "b")
    (source / "assumptions.yaml").write_text(
        "- 'no consents: all granted'\n- 'no cases: none open'\n- 'no reachability: all reachable'\n"
        "- 'no contacts: nobody was ever contacted'\n"
    )
    home = small_home(tmp_path / "home")
    import_tables(home, source)
    told = FeatureStore(home).as_of(pair).to_pylist()[0]
    assert told["consent_marketing_sms"] == "granted"
    assert (told["reachable_sms"], told["complaint_open"]) == (True, False)
    assert (told["contacts_sms_count_30d"], told["ignored_in_a_row"], told["accepted_count_365d"]) == (0, 0, 0)
    assert told["days_since_last_contact"] is None, "there was none"
    assert [told[f"reachable_{channel}"] for channel in MARKETING_CHANNELS] == [True] * 6
    assert "no consents: all granted" in home.assumptions()


@pytest.mark.parametrize(("sentence", "consent", "reachable"), [
    ("no consents: none granted", None, []), ("no reachability: customers are unreachable", None, []),
    ("No reachability: all reachable by mail ", None, ["mail"]), ("no consents: ALL granted", "granted", []),
])  # fmt: skip
def test_an_assumption_is_what_its_words_say_and_no_more(
    tmp_path: Path, sentence: str, consent: str | None, reachable: list[str]
) -> None:
    """Mutant: a word within it is enough, and `none granted` grants everything."""
    tables = made_up_bank(9, transactions=50)
    source = write_tables({name: tables[name] for name in ("customers", "transactions")}, tmp_path / "b")
    (source / "assumptions.yaml").write_text(f"- '{sentence}'\n- 'no deaths register: nobody is deceased'\n")
    home = small_home(tmp_path / "home")
    report = import_tables(home, source)
    told = FeatureStore(home).as_of(entities([("C001", END)])).to_pylist()[0]
    assert told["consent_marketing_sms"] == consent
    assert [c for c in MARKETING_CHANNELS if told[f"reachable_{c}"]] == reachable
    assert report.unheard == ([] if consent or reachable else [sentence])


def test_of_a_bank_without_outcomes_nobody_ignored_anything(tmp_path: Path) -> None:
    """Mutant: every contact counts as ignored, for nobody ever answered."""
    tables = made_up_bank(9, transactions=50)
    tables.pop("outcomes")
    told = FeatureStore(home_with(tables, tmp_path)).as_of(entities([("C001", END)])).to_pylist()[0]
    assert (told["ignored_in_a_row"], told["accepted_count_365d"]) == (None, None)
    assert told["contacts_sms_count_30d"] is not None


@pytest.mark.parametrize(
    "names", [None, ("customers", "transactions"), ("customers", "transactions", "cases", "notes")]
)
def test_of_nobody_the_features_are_an_empty_table(tmp_path: Path, names: tuple[str, ...] | None) -> None:
    """An as-of join of no rows, and a snapshot of a day before the first customer."""
    tables = made_up_bank(9, transactions=50)
    for row in tables["customers"]:
        row["joined_on"] = END.date()
    home = home_with({name: tables[name] for name in names or tables}, tmp_path)
    store = FeatureStore(home)
    found = store.as_of(entities([]))
    assert (found.num_rows, found.schema.names[3:]) == (0, store.schema.names[3:])
    store.build(END - timedelta(days=40))
    snapshot = store.newest()
    assert snapshot is not None and snapshot.table.num_rows == 0 and store.fault(snapshot) is None


def test_what_no_whole_number_can_hold_is_worth_nobody_knows_what(tmp_path: Path) -> None:
    """Mutant: the largest amount at the smallest rate that the contract allows stopped every build."""
    tables = made_up_bank(10)
    for row in tables["fx_rates"]:
        if row["currency"] == "USD":
            row["per_base"] = 1e-9
    for row in tables["transactions"][::7]:
        row["amount_minor"] = 10**15 if row["amount_minor"] > 0 else -(10**15)
    home = home_with(tables, tmp_path)
    assert differences(home, tables, some_pairs(10, 60)) == []
    assert differences(home, tables, [(f"C{i:03d}", END) for i in range(30)]) == []
    nights = [END - timedelta(days=n) for n in (2, 1)]
    first, second = (FeatureStore(home).build(night).read_bytes() for night in nights)
    for night in nights:
        (home.features / f"{night:%Y%m%dT%H%M%SZ}.days").unlink()
    assert [FeatureStore(home).build(night).read_bytes() for night in nights[::-1]] == [second, first]


def test_an_unknown_customer_has_null_facts(tmp_path: Path) -> None:
    store = FeatureStore(home_with(made_up_bank(9, transactions=50), tmp_path))
    row = store.as_of(entities([("NOBODY", END)])).to_pylist()[0]
    assert (row["kind"], row["deceased"], row["purchase_count_30d"]) == (None, None, 0.0)


@pytest.mark.parametrize(("table", "line"), [
    (pa.table({"customer_id": ["C1"]}), "entities: column `as_of` is missing; add it"),
    (pa.table({"customer_id": ["C1"], "as_of": pa.array([END], pa.timestamp("us"))}),
     "entities: `as_of` is timestamp[us]; expected an instant with its zone"),
    (pa.table({"customer_id": ["C1"], "as_of": pa.array([None], STAMP)}),
     "entities: `as_of` is empty in some rows; give every row its instant"),
    (pa.table({"customer_id": ["C1"] * 2, "as_of": pa.array([NOW, NOW + timedelta(microseconds=1)], STAMP)}),
     "entities: `as_of` of row 2 lies after the home's present, 2026-01-02T00:00:00Z; choose an earlier one"),
    (pa.table({"customer_id": ["C1"], "as_of": pa.array([END], STAMP), "kind": ["x"]}),
     "entities: column `kind` is a feature's name; rename it"),
])  # fmt: skip
def test_entities_are_checked(tmp_path: Path, table: pa.Table, line: str) -> None:
    store = FeatureStore(home_with(made_up_bank(9, transactions=50), tmp_path))
    with pytest.raises(StoreError) as error:
        store.as_of(table)
    assert str(error.value) == line


def test_a_snapshot_of_the_future_is_refused(tmp_path: Path) -> None:
    store = FeatureStore(home_with(made_up_bank(9, transactions=50), tmp_path))
    with pytest.raises(StoreError, match="lies after the home's present"):
        store.build(datetime(2026, 1, 3, tzinfo=UTC))


def test_newest_is_the_last_at_or_before(tmp_path: Path) -> None:
    store = FeatureStore(home_with(made_up_bank(9, transactions=50), tmp_path))
    assert store.newest() is None
    days = [datetime(2025, 5, day, tzinfo=UTC) for day in (1, 2, 3)]
    for day in days:
        store.build(day)
    assert [getattr(store.newest(t), "as_of", None) for t in
            (days[0] - timedelta(1), days[1], days[1] + timedelta(hours=5), None)] == [
        None, days[1], days[1], days[2]]  # fmt: skip


def test_every_feature_says_what_it_means(tmp_path: Path) -> None:
    schema = FeatureStore(home_with(made_up_bank(9, transactions=50), tmp_path)).schema
    for field in list(schema)[3:]:
        assert field.metadata[b"en"] and field.metadata[b"zh"] and field.metadata[b"null"], field
        assert field.metadata[b"source"] and b"unit" in field.metadata and b"domain" in field.metadata
        assert field.type in (pa.bool_(), pa.float64(), pa.string())
    assert len(schema.names) == len(set(schema.names))


@pytest.mark.parametrize("change", [
    {"currencies": ("GBP", "JPY", "USD")}, {"currencies": ("GBP", "USD")}, {"currency": "USD"}, {"zone": "Asia/Shanghai"},
    {"snapshot_max_age_hours": 240},
])  # fmt: skip
def test_a_snapshot_made_with_other_settings_is_not_read_and_not_built_upon(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """Mutant: windows are numbered by the order of the currencies; with another order dollars are read as pounds."""
    tables = made_up_bank(14, customers=8, transactions=200)
    home = home_with(tables, tmp_path)
    night = datetime(2025, 12, 1, tzinfo=UTC)
    FeatureStore(home).build(night)
    write_settings(home.path / "bank.yaml", home.settings.model_copy(update=change))
    home = Home.open(home.path)
    store = FeatureStore(home)
    snapshot = store.newest()
    assert snapshot is not None and store.fault(snapshot) is not None
    with pytest.raises(StoreError, match="nbo features build"):
        store.latest(["C001"], END, None)
    found = store.build(night + timedelta(days=1)).read_bytes()
    shutil.rmtree(home.features)
    assert FeatureStore(home).build(night + timedelta(days=1)).read_bytes() == found
    assert FeatureStore(home).fault(FeatureStore(home).newest() or snapshot) is None


def test_a_snapshot_that_can_be_rolled_further_than_is_asked_is_read(tmp_path: Path) -> None:
    home = home_with(made_up_bank(14, customers=8, transactions=200), tmp_path)
    FeatureStore(home).build(END)
    write_settings(home.path / "bank.yaml", home.settings.model_copy(update={"snapshot_max_age_hours": 1}))
    store = FeatureStore(Home.open(home.path))
    snapshot = store.newest()
    assert snapshot is not None and store.fault(snapshot) is None


def test_a_damaged_mark_of_days_is_made_again(tmp_path: Path) -> None:
    home = home_with(made_up_bank(15, customers=8, transactions=200), tmp_path)
    whole = FeatureStore(home).build(END).read_bytes()
    for mark in home.features.glob(".days/*"):
        mark.write_bytes(b"x")
    assert FeatureStore(home).build(END).read_bytes() == whole
    shutil.rmtree(home.features)
    assert FeatureStore(home).build(END).read_bytes() == whole


def test_no_bit_of_a_mark_of_days_stops_a_build(tmp_path: Path) -> None:
    """A bit that turned in the layout of a file is found; in a number of it nobody can see it."""
    home = home_with(made_up_bank(15, customers=8, transactions=200), tmp_path)
    source = Source(home)
    home.features.mkdir(exist_ok=True)
    whole = day_manifest(source, home.features)
    mark = next(home.features.glob(".days/part-*"))
    sound, n_found = mark.read_bytes(), 0
    for place in range(0, len(sound), 29):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        mark.write_bytes(damaged)
        found = day_manifest(source, home.features)
        assert found.schema == whole.schema
        if mark.read_bytes() != damaged:  # made again
            n_found += 1
            assert found.equals(whole)
    assert n_found > 10
