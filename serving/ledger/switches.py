"""Switches: pause everything, a channel, a family, an offer or a campaign; two people resume.

One person pauses, at once. To resume, one asks and another agrees. The rows are append-only: the
last one of a scope says how it stands, the others are the record. Read in the decision's and the
claim's own transaction, a pause acts with the very next one, on every worker; a claim under way on
another is waited for, and then recalled.
"""

import re
from dataclasses import dataclass

from sqlalchemy import func, insert, select
from sqlalchemy.engine import Connection

from serving.ledger.locks import Touches
from serving.ledger.schema import switches
from serving.ledger.statement import Statement

_SCOPE = re.compile(r"all|(channel|family|offer|campaign):[A-Za-z0-9_.-]{1,64}")


TURNING = Touches(names=("switches",))  # what turns one holds
HEEDING = TURNING.names  # what a claim shares: a pause answered before its commit would miss it


class SwitchError(ValueError):
    """The switch cannot be thrown that way; the line says what to do."""


@dataclass(frozen=True)
class Change:
    """One entry of the record; action is pause, ask or resume; at in microseconds UTC."""

    scope: str
    action: str
    principal: str
    reason: str
    at: int


_LAST = select(func.max(switches.c.switch_id)).group_by(switches.c.scope)
_PAUSED = Statement(
    select(switches.c.scope).where(switches.c.switch_id.in_(_LAST)).where(switches.c.action != "resume")
)


def paused(connection: Connection) -> frozenset[str]:
    """Scopes that are paused now, as Terms.paused takes them: {"all", "channel:sms", ...}."""
    return frozenset(row[0] for row in _PAUSED.run(connection).fetchall())


def pause(connection: Connection, scope: str, principal: str, reason: str, now: int) -> None:
    """Pause a scope. Where it is paused already, an agreed wish to resume is void."""
    _append(connection, Change(check_scope(scope), "pause", principal, reason, now))


def resume(connection: Connection, scope: str, principal: str, reason: str, now: int) -> bool:
    """Ask to resume, or agree to what another asked: True where the scope runs again.

    SwitchError where the scope is not paused, or one principal would be both.
    """
    last = _last(connection, check_scope(scope))
    if last is None or last.action == "resume":
        raise SwitchError(f"`{scope}` is not paused; nothing to resume")
    if last.action == "pause":
        _append(connection, Change(scope, "ask", principal, reason, now))
        return False
    if last.principal == principal:
        raise SwitchError(f"`{principal}` asked to resume `{scope}`; someone else has to agree")
    _append(connection, Change(scope, "resume", principal, reason, now))
    return True


def history(connection: Connection, scope: str | None = None) -> list[Change]:
    """Every change, of one scope or all, oldest first."""
    query = select(switches).order_by(switches.c.switch_id)
    if scope is not None:
        query = query.where(switches.c.scope == check_scope(scope))
    return [Change(r.scope, r.action, r.principal, r.reason, r.at) for r in connection.execute(query)]


def check_scope(scope: str) -> str:
    """The scope as it is; SwitchError where it is none."""
    if not _SCOPE.fullmatch(scope):
        kinds = "channel:ID, family:ID, offer:ID or campaign:ID"
        raise SwitchError(f"unknown scope `{scope[:80]}`; expected all, {kinds}")
    return scope


def _last(connection: Connection, scope: str) -> Change | None:
    entries = history(connection, scope)
    return entries[-1] if entries else None


def _append(connection: Connection, change: Change) -> None:
    connection.execute(
        insert(switches).values(
            scope=change.scope, action=change.action, principal=change.principal,
            reason=change.reason, at=change.at,
        )
    )  # fmt: skip
