"""Tables dealt out in shares give the snapshot and the features that are made of them whole."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from features import dealt as room
from features.dealt import DEALT, LINKED, dealt, n_shares
from features.home import Home
from features.intake import import_tables
from features.source import Source
from features.store import FeatureStore
from tests.feature_bank import Tables, made_up_bank, small_home, write_tables

AT = datetime(2025, 11, 30, tzinfo=UTC)


def filled(path: Path, tables: Tables) -> Home:
    home = small_home(path / "home")
    import_tables(home, write_tables(tables, path / "source"))
    return home


def customers_of(home: Home) -> pl.Series:
    return Source(home).whole("customers", ("customer_id",)).to_series().sort()


@pytest.mark.parametrize("seed", [31, 32])
def test_a_snapshot_made_in_shares_is_the_one_made_whole_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Late rows, joint accounts, missing rates; the account book of the next night is the same too."""
    home = filled(tmp_path, made_up_bank(seed, transactions=3000))
    whole = FeatureStore(home).build(AT).read_bytes()
    [book] = [path.read_bytes() for path in home.features.glob("*.accounts")]
    for path in sorted(home.features.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    monkeypatch.setattr(room, "ROWS_A_SHARE", 250)
    assert n_shares(Source(home), len(customers_of(home))) > 8
    seen: list[int] = []
    assert FeatureStore(home).build(AT, lambda _, done: seen.append(done)).read_bytes() == whole
    assert len(seen) > 8
    assert seen == sorted(seen)
    assert [path.read_bytes() for path in home.features.glob("*.accounts")] == [book]
    assert not [p for p in home.features.iterdir() if p.name.startswith(".spill")], "what was dealt out was left behind"


def test_a_share_holds_its_customers_rows_and_the_bookings_of_their_accounts(tmp_path: Path) -> None:
    home = filled(tmp_path, made_up_bank(33, transactions=2000))
    source = Source(home)
    ids = customers_of(home)
    bookings = source.scan("transactions").collect()
    owners = source.scan("holders").filter(pl.col("role").is_in(["owner", "joint"])).collect()
    with dealt(source, ids, 5) as shares:
        assert pl.concat([share.customers for share in shares]).to_list() == ids.to_list()
        foreign, linked = 0, dict.fromkeys(LINKED, 0)
        for share in shares:
            mine = share.customers.implode()
            accounts = owners.filter(pl.col("customer_id").is_in(mine))["account_id"]
            own = pl.col("customer_id").is_in(mine)
            wanted = bookings.filter(own | pl.col("account_id").is_in(accounts.implode())).sort("transaction_id")
            foreign += len(wanted.filter(~own))
            assert share.source.scan("transactions").collect().sort("transaction_id").equals(wanted)
            for name in filter(source.has, DEALT[1:]):
                held = share.source.scan(name).collect()
                assert held.sort(pl.all()).equals(source.scan(name).filter(own).collect().sort(pl.all())), name
            for name, (of, key) in LINKED.items():
                theirs = pl.col(key).is_in(source.scan(of).filter(own).collect()[key].implode())
                held = share.source.scan(name).collect()
                assert held.sort(pl.all()).equals(source.scan(name).filter(theirs).collect().sort(pl.all())), name
                linked[name] += len(held)
        assert foreign, "no booking of an account in another share: the test would show nothing"
        assert linked["outcomes"] == source.n_rows("outcomes") > 0, "an outcome was lost, or came twice"
        assert linked["holders"] > source.n_rows("holders"), "no joint account: the test would show less"
        assert n_shares(shares[0].source, len(ids)) == 1, "a share is not dealt out again"
