"""When campaigns run by themselves: the instants a schedule names, and which of them are to be run now.

Cron as Debian's cron reads it (CronSim): on the night a clock springs forward, what would fall into the
lost hour runs right after it; on the night it falls back, what the doubled hour holds runs once, unless it
runs every hour or minute. Pure: no clock, no database; `serving.scheduler` remembers what was run.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim

from serving.campaign import Campaign

ON_TIME = timedelta(minutes=5)  # begun no later than that, a run was not missed
LOOK_BACK = timedelta(days=31)  # what fell due before is not caught up


@dataclass(frozen=True)
class Due:
    """What is to be done at one instant. run: dues to run, oldest first; skipped: those that are not."""

    run: tuple[datetime, ...] = ()
    skipped: tuple[datetime, ...] = ()


def dues(campaign: Campaign, after: datetime, holidays: Iterable[date], bank_zone: str) -> Generator[datetime]:
    """The instants (UTC) later than `after` at which the campaign falls due, in order; ends with its window.

    Days outside the window, and holidays where the schedule skips them, are those of the schedule's zone.
    """
    schedule, closed = campaign.schedule, frozenset(holidays)
    if schedule is None:
        return
    zone = ZoneInfo(schedule.zone or bank_zone)
    first = datetime.combine(campaign.window.from_, datetime.min.time(), zone) - timedelta(seconds=1)
    for due in CronSim(schedule.cron, max(after.astimezone(zone), first)):
        day, at = due.date(), due.astimezone(UTC)
        if day > campaign.window.to:
            return
        if at <= after:  # CronSim forgets in which of the doubled hours it begins
            continue
        after = at  # two of the lost hour's fall together
        if not (schedule.holidays == "skip" and day in closed):
            yield at


def due_now(campaign: Campaign, after: datetime, now: datetime, holidays: Iterable[date], bank_zone: str) -> Due:
    """What of the instants in (after, now] is to be run, by the schedule's rule for missed ones."""
    if campaign.schedule is None:
        return Due()
    found = list(_until(dues(campaign, max(after, now - LOOK_BACK), holidays, bank_zone), now))
    late, timely = [d for d in found if now - d > ON_TIME], [d for d in found if now - d <= ON_TIME]
    match campaign.schedule.missed:
        case "all":
            return Due(tuple(found))
        case "last":
            return Due(tuple(found[-1:]), tuple(found[:-1]))
        case "none":
            return Due(tuple(timely[-1:]), (*late, *timely[:-1]))


def next_dues(campaign: Campaign, after: datetime, holidays: Iterable[date], bank_zone: str, n: int) -> list[datetime]:
    """The next n instants after `after`; fewer where the window ends before."""
    return list(islice(dues(campaign, after, holidays, bank_zone), n))


def _until(instants: Iterable[datetime], now: datetime) -> Generator[datetime]:
    for instant in instants:
        if instant > now:
            return
        yield instant
