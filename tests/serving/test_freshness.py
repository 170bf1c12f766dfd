"""What the bank's tables and its events over HTTP say of their age."""

from serving.freshness import freshness
from tests.home import HERO_DOLLARS, NOW, UNTIL, move


def test_each_table_of_the_import_says_its_newest_day(office):
    with office.ledger.read() as connection:
        told = freshness(office.engine.home, connection)
    assert told.imported_at == NOW
    tables = {feed.table: feed for feed in told.feeds}
    assert tables["customers"].rows == 1_200
    assert tables["transactions"].latest is not None
    assert tables["transactions"].latest <= UNTIL
    assert told.aside == sum(feed.aside for feed in told.feeds)


def test_an_event_over_http_is_the_last_received(office, clock):
    at = clock.forward(minutes=1)
    move(office, "cash_withdrawal", -1_000, HERO_DOLLARS - 1_000, at)
    with office.ledger.read() as connection:
        assert freshness(office.engine.home, connection).received["events"] == at


def test_without_a_report_nothing_is_claimed(office):
    (office.engine.home.data / "feed.json").write_text("{")
    with office.ledger.read() as connection:
        told = freshness(office.engine.home, connection)
    assert (told.imported_at, told.feeds) == (None, ())
