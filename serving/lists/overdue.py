"""A list whose sending hours are over: what it would reserve could only expire."""

import pyarrow.compute as pc

from serving.ledger.clock import EPOCH, MICROSECOND
from serving.lists.plan import Plan


class OverdueError(ValueError):
    """No contact of the list could be sent any more; one line."""


def check_sendable(plan: Plan, now: int) -> None:
    """OverdueError where the sending hours of every contact are over. now: the ledger's, microseconds."""
    ends_at, now_at = pc.max(plan.decisions.column("send_before")).as_py(), EPOCH + now * MICROSECOND
    if ends_at is not None and ends_at <= now_at:
        raise OverdueError(
            f"as-of `{plan.inputs.at:%FT%TZ}` is too long ago: the list's last sending hours ended at {ends_at:%FT%TZ}, now it is"
            f" {now_at:%FT%TZ}; nothing is reserved. Look at it with --dry-run, or choose a later --as-of"
        )
