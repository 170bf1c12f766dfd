"""Schedules in every zone, on both nights the clocks change, on holidays, and after a pause."""

import random
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from serving.campaign import Campaign, CampaignError, Schedule, Window, load_campaign
from serving.schedule import ON_TIME, Due, due_now, dues, next_dues

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai", "America/Sao_Paulo", "UTC")


def campaign(cron: str, zone: str | None = None, holidays: str = "skip", missed: str = "last", begins: str = "2026-01-01",
             ends: str = "2029-12-31") -> Campaign:  # fmt: skip
    return Campaign(id="spring", title={"en": "x", "zh": "x"}, owner="marketing", offers=("gold",),
                    window=Window.model_validate({"from": begins, "to": ends}),
                    schedule=Schedule(cron=cron, zone=zone, holidays=holidays, missed=missed))  # fmt: skip


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def naive(campaign: Campaign, minute: int, hour: int, zone: str, days: int) -> list[datetime]:
    """Day by day: the wall clock's hour, once; in the lost hour the first minute after it."""
    found, tz = [], ZoneInfo(zone)
    for n in range(days):
        wall = datetime.combine(campaign.window.from_ + timedelta(days=n), datetime.min.time()).replace(
            hour=hour, minute=minute
        )
        instant = wall.replace(tzinfo=tz).astimezone(UTC)
        while instant.astimezone(tz).replace(tzinfo=None) != wall:
            if (
                instant.astimezone(tz).replace(tzinfo=None) > wall
                and (instant - timedelta(minutes=1)).astimezone(tz).replace(tzinfo=None) < wall
            ):
                break
            instant += timedelta(minutes=-1 if instant.astimezone(tz).replace(tzinfo=None) > wall else 1)
        found.append(instant)
    return found


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("hour", "minute"), [(8, 0), (2, 30), (1, 59), (0, 0), (3, 0)])
def test_a_daily_run_comes_once_a_day_on_both_dst_nights(zone: str, hour: int, minute: int) -> None:
    daily = campaign(f"{minute} {hour} * * *", zone)
    days = 4 * 365
    found = list(islice(dues(daily, at("2025-12-30"), (), "UTC"), days))
    assert found == naive(daily, minute, hour, zone, days)


def test_the_lost_and_the_doubled_hour_in_berlin() -> None:
    daily = campaign("30 2 * * *", "Europe/Berlin")
    assert next_dues(daily, at("2026-03-28T12:00"), (), "UTC", 2) == [at("2026-03-29T01:00"), at("2026-03-30T00:30")]
    assert next_dues(daily, at("2026-10-24T12:00"), (), "UTC", 2) == [at("2026-10-25T00:30"), at("2026-10-26T01:30")]
    # Asked in the second 02:30 of that night, the first is behind us.
    assert next_dues(daily, at("2026-10-25T01:10"), (), "UTC", 1) == [at("2026-10-26T01:30")]
    hourly = campaign("0 * * * *", "Europe/Berlin")  # every hour runs in both
    assert next_dues(hourly, at("2026-10-24T23:30"), (), "UTC", 3) == [
        at("2026-10-25T00:00"), at("2026-10-25T01:00"), at("2026-10-25T02:00")]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_dues_only_go_forward_wherever_one_begins(seed: int) -> None:
    rng = random.Random(seed)
    cron = rng.choice(["*/7 * * * *", "15,45 1-3 * * *", "0 2 * * 0", "*/20 */2 * * *", "10 2 29 * *"])
    any_ = campaign(cron, rng.choice(ZONES))
    begun = at("2026-01-01") + timedelta(minutes=rng.randrange(4 * 365 * 24 * 60))
    found = list(islice(dues(any_, begun, (), "UTC"), 60))
    assert all(one < two for one, two in pairwise([begun, *found]))
    for one in found[:5]:  # the next after any of them is the one that follows it
        assert next_dues(any_, one, (), "UTC", 1) == [x for x in found if x > one][:1]


def test_holidays_of_the_schedules_zone_are_skipped_where_it_says_so() -> None:
    closed = {date(2026, 6, 2)}
    tokyo = campaign("0 8 * * *", "Asia/Tokyo")  # 23:00Z the day before
    assert next_dues(tokyo, at("2026-05-31T23:30"), closed, "UTC", 1) == [at("2026-06-02T23:00")]
    always = campaign("0 8 * * *", "Asia/Tokyo", holidays="run")
    assert next_dues(always, at("2026-05-31T23:30"), closed, "UTC", 1) == [at("2026-06-01T23:00")]


def test_the_window_begins_and_ends_the_runs() -> None:
    short = campaign("0 8 * * *", begins="2026-06-03", ends="2026-06-04")
    assert next_dues(short, at("2026-01-01"), (), "Asia/Shanghai", 9) == [at("2026-06-03T00:00"), at("2026-06-04T00:00")]  # fmt: skip
    assert next_dues(short, at("2026-06-04T00:00"), (), "Asia/Shanghai", 9) == []
    assert next_dues(campaign("0 0 * * *", begins="2026-06-03"), at("2026-01-01"), (), "UTC", 1) == [at("2026-06-03")]


def test_what_was_missed_is_caught_up_or_skipped_by_rule() -> None:
    now, before = at("2026-06-04T08:01"), at("2026-06-01T09:00")
    three = tuple(at(f"2026-06-0{day}T08:00") for day in (2, 3, 4))
    for missed, expected in (("all", Due(three)), ("last", Due(three[2:], three[:2])), ("none", Due(three[2:], three[:2]))):  # fmt: skip
        assert due_now(campaign("0 8 * * *", missed=missed), before, now, (), "UTC") == expected
    late = now + ON_TIME
    assert due_now(campaign("0 8 * * *", missed="none"), before, late, (), "UTC") == Due((), three)
    assert due_now(campaign("0 8 * * *", missed="last"), before, late, (), "UTC") == Due(three[2:], three[:2])
    long_ago = due_now(campaign("0 8 * * *", missed="all"), at("2026-01-01T00:00"), now, (), "UTC")
    assert len(long_ago.run) == 31 and long_ago.run[-1] == three[2]


@pytest.mark.parametrize(("cron", "line"), [
    ("0 8 * *", "`cron` has 4 fields; minute, hour, day, month and weekday are five"),
    ("61 8 * * *", "`cron` is `61 8 * * *`: bad minute; man 5 crontab has the syntax"),
    ("0 8 * * 1-", "`cron` is `0 8 * * 1-`: bad day-of-week; man 5 crontab has the syntax"),
    ("0 8 30 2 *", "`cron` is `0 8 30 2 *`: bad day-of-month; man 5 crontab has the syntax"),
])  # fmt: skip
def test_a_cron_that_cannot_be_is_one_clear_line(tmp_path, cron: str, line: str) -> None:
    path = tmp_path / "spring.yaml"
    path.write_text(
        "id: spring\ntitle: {en: x, zh: x}\nowner: o\noffers: [gold]\nwindow: {from: 2026-01-01, to: 2026-12-31}\n"
        f"schedule: {{cron: '{cron}'}}\n"
    )
    with pytest.raises(CampaignError) as refused:
        load_campaign(path)
    assert str(refused.value).endswith(line)


def test_any_cron_of_five_fields_is_taken_or_refused_in_words() -> None:
    rng = random.Random(4)
    for _ in range(3_000):
        cron = " ".join("".join(rng.choices("0123456789*/,-L#W", k=rng.randint(1, 4))) for _ in range(5))
        try:
            Schedule(cron=cron)
        except ValueError as refused:
            assert "cron" in str(refused)
