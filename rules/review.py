"""The review of a change: who may do what next, and what is in force when. Pure; serving stores the steps.

    proposed --check--> checked --approve--> approved --activate--> activated --rollback--> rolled_back
        |                  |                    |
        +--check--> failed +--------------------+--> rejected (by another), withdrawn (by its author)

What goes live is always a whole set of files, named by its hash. An approval is of exactly that hash, by
the owner of another key than the author's. The steps are append-only: the state of a change, and the set
in force at an instant, are folds over them. A change is built upon the set that was the last one when it
was proposed, and is activated upon no other: what was proved of it and diffed is what goes live.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rules.line import Line


class Kind(StrEnum):
    """What a change changes."""

    RULES = "rules"  # the contact policy, its cases and invariants
    CATALOGUE = "catalogue"
    LEVERS = "levers"  # of the catalogue nothing but levers
    CAMPAIGNS = "campaigns"


class Act(StrEnum):
    """One step of a change."""

    BOOT = "boot"  # the first set of a bank: nobody has approved it yet
    PROPOSE = "propose"
    CHECK = "check"
    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    ACTIVATE = "activate"
    ROLLBACK = "rollback"


class State(StrEnum):
    """Where a change stands. booted: in force, and seen by one person only."""

    BOOTED = "booted"
    PROPOSED = "proposed"
    FAILED = "failed"
    CHECKED = "checked"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    ACTIVATED = "activated"
    ROLLED_BACK = "rolled_back"


ADMIN = "admin"
_MARKETING, _COMPLIANCE = frozenset({"marketing", ADMIN}), frozenset({"compliance", ADMIN})
_EITHER = _MARKETING | _COMPLIANCE
# Rules are compliance's, offers marketing's. Compliance may refuse an offer and not write one.
AUTHORS = {
    Kind.RULES: _COMPLIANCE,
    Kind.CATALOGUE: _MARKETING,
    Kind.LEVERS: _MARKETING,
    Kind.CAMPAIGNS: _MARKETING,
}
APPROVERS = {Kind.RULES: _COMPLIANCE, Kind.CATALOGUE: _EITHER, Kind.LEVERS: _EITHER, Kind.CAMPAIGNS: _EITHER}
STATES_ZH = {State.BOOTED: "已启用", State.PROPOSED: "已提出", State.FAILED: "检查未通过", State.CHECKED: "已检查", State.APPROVED: "已批准",
             State.REJECTED: "已否决", State.WITHDRAWN: "已撤回", State.ACTIVATED: "已生效", State.ROLLED_BACK: "已回退"}  # fmt: skip
ACTS_ZH = {Act.BOOT: "启用", Act.PROPOSE: "提出", Act.CHECK: "检查", Act.APPROVE: "批准", Act.REJECT: "否决", Act.WITHDRAW: "撤回",
           Act.ACTIVATE: "生效", Act.ROLLBACK: "回退"}  # fmt: skip
_DONE_ZH = {"change": "修改", "approve or refuse": "批准或否决", "activate": "使之生效", "checked": "检查", "approved": "批准",
            "rejected": "否决", "withdrawn": "撤回", "activated": "生效"}  # fmt: skip
_TURNS = (Act.BOOT, Act.ACTIVATE, Act.ROLLBACK)
_OPEN = (State.PROPOSED, State.FAILED, State.CHECKED, State.APPROVED)


class ReviewError(ValueError):
    """The step may not be taken. forbidden: not by this key; else not now. line: why, in both languages."""

    def __init__(self, what: str, zh: str = "", *, forbidden: bool = False) -> None:
        super().__init__(what)
        self.line, self.forbidden = Line(en=what, zh=zh or what), forbidden


@dataclass(frozen=True, slots=True)
class Actor:
    """Whose key it is, and its role."""

    name: str
    role: str

    def is_same(self, name: str) -> bool:
        """Whether that is the same owner, however he spells himself."""
        return self.name.strip().casefold() == name.strip().casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. base, target: revisions of whole sets of files; instants in microseconds UTC.

    effective_at: when the target comes into force; null: the step puts nothing into force. passed: what a
    check found; null: no check.
    """

    step_id: int
    change_id: str
    act: Act
    actor: Actor
    kinds: frozenset[Kind]
    base: str
    target: str
    at: int
    effective_at: int | None = None
    passed: bool | None = None


def state_of(steps: Sequence[Step]) -> State:
    """Where a change stands after its steps, oldest first; at least one."""
    last = steps[-1]
    if last.act is Act.CHECK:
        return State.CHECKED if last.passed else State.FAILED
    if last.act is Act.APPROVE and steps[0].act is Act.BOOT:
        return State.ACTIVATED  # in force since the start, and now by two
    return {
        Act.BOOT: State.BOOTED, Act.PROPOSE: State.PROPOSED, Act.APPROVE: State.APPROVED, Act.REJECT: State.REJECTED,
        Act.WITHDRAW: State.WITHDRAWN, Act.ACTIVATE: State.ACTIVATED, Act.ROLLBACK: State.ROLLED_BACK,
    }[last.act]  # fmt: skip


def turns(steps: Iterable[Step]) -> list[Step]:
    """The steps that put a set into force, in the order in which they do."""
    return sorted((s for s in steps if s.act in _TURNS), key=lambda step: (step.effective_at or 0, step.step_id))


def standing(steps: Iterable[Step]) -> list[Step]:
    """The turns that no rollback has undone; the last one's set is the last set there is."""
    stack: list[Step] = []
    for turn in turns(steps):
        if turn.act is Act.ROLLBACK:
            stack.pop()
        else:
            stack.append(turn)
    return stack


def in_force(steps: Iterable[Step], at: int) -> Step | None:
    """The step that put the set of that instant into force; null: before the first."""
    found = [step for step in turns(steps) if (step.effective_at or 0) <= at]
    return found[-1] if found else None


def may_author(actor: Actor, kinds: Iterable[Kind]) -> None:
    """ReviewError unless the key's role writes all of these."""
    _may(actor, kinds, AUTHORS, "change")


def may_judge(actor: Actor, kinds: Iterable[Kind]) -> None:
    """ReviewError unless the key's role approves and refuses all of these."""
    _may(actor, kinds, APPROVERS, "approve or refuse")


def may_check(steps: Sequence[Step]) -> None:
    """ReviewError unless a check may be entered: nobody has judged the change yet."""
    _needs(steps, (State.PROPOSED, State.FAILED, State.CHECKED), "checked")


def may_approve(actor: Actor, steps: Sequence[Step], seen: str) -> None:
    """ReviewError unless this key may approve the change now. seen: the revision that he has looked at."""
    may_judge(actor, steps[0].kinds)
    if steps[0].act is not Act.BOOT and state_of(steps) in (State.PROPOSED, State.FAILED):
        en, zh = (
            ("failed its check", "未通过检查")
            if state_of(steps) is State.FAILED
            else ("is not checked yet", "尚未检查")
        )
        raise ReviewError(
            f"change `{steps[0].change_id}` {en}; mend it and propose it again, or check it first",
            f"变更 `{steps[0].change_id}` {zh}；请修改后重新提出，或先行检查",
        )
    _needs(steps, (State.CHECKED, State.BOOTED), "approved")
    if actor.is_same(steps[0].actor.name):
        raise ReviewError(
            f"`{actor.name}` is the author; the owner of another key has to approve",
            f"`{actor.name}` 是提出人；须由另一密钥的持有人批准",
            forbidden=True,
        )
    if seen != steps[0].target:
        raise ReviewError(
            f"the change is `{steps[0].target[:12]}`, not `{seen[:12]}`; look at it again before approving",
            f"该变更为 `{steps[0].target[:12]}`，而非 `{seen[:12]}`；批准前请重新查看",
        )


def may_reject(actor: Actor, steps: Sequence[Step]) -> None:
    """ReviewError unless this key may refuse the change now."""
    may_judge(actor, steps[0].kinds)
    _needs(steps, _OPEN, "rejected")
    if actor.is_same(steps[0].actor.name):
        raise ReviewError(
            f"`{actor.name}` is the author; withdraw it instead",
            f"`{actor.name}` 是提出人；请改为撤回",
            forbidden=True,
        )


def may_withdraw(actor: Actor, steps: Sequence[Step]) -> None:
    """ReviewError unless this key may take the change back now: its author's, or an admin's."""
    _needs(steps, _OPEN, "withdrawn")
    if not actor.is_same(steps[0].actor.name) and actor.role != ADMIN:
        raise ReviewError(
            f"only its author, `{steps[0].actor.name}`, or an admin may withdraw it",
            f"只有提出人 `{steps[0].actor.name}` 或管理员可以撤回",
            forbidden=True,
        )


def may_activate(actor: Actor, steps: Sequence[Step], every: Iterable[Step], now: int, effective_at: int) -> None:
    """ReviewError unless the change may come into force at that instant. every: the turns of all changes."""
    _may(actor, steps[0].kinds, {kind: AUTHORS[kind] | APPROVERS[kind] for kind in Kind}, "activate")
    _needs(steps, (State.APPROVED,), "activated")
    if effective_at < now:
        raise ReviewError(
            "it cannot come into force in the past; give a later instant", "不能在过去生效；请给出更晚的时刻"
        )
    last = turns(every)[-1]
    if (last.effective_at or 0) > effective_at:
        raise ReviewError(
            f"`{last.change_id}` comes into force later than that; activate after it, or roll it back first",
            f"`{last.change_id}` 在此之后生效；请在其后生效，或先将其回退",
        )
    if last.target != steps[0].base:
        raise ReviewError(
            f"`{last.change_id}` came into force after this was proposed; propose it again upon what holds now",
            f"`{last.change_id}` 在此变更提出后已生效；请在现行版本上重新提出",
        )


def rolled_back(
    actor: Actor, every: Iterable[Step], kinds: dict[str, frozenset[Kind]], now: int
) -> tuple[Step, str, int]:
    """(the turn undone, the revision that comes back, when). kinds: of each change; ReviewError where there is none.

    One that is not in force yet is undone in the instant in which it would have been.
    """
    every = list(every)
    stack = standing(every)
    if len(stack) < 2:
        raise ReviewError("there is nothing to go back to: the first set is in force", "无可回退：现行的就是首个版本")
    undone, last = stack[-1], turns(every)[-1]
    may_judge(actor, kinds[undone.change_id])
    return undone, stack[-2].target, max(now, last.effective_at or 0)


def _may(actor: Actor, kinds: Iterable[Kind], table: dict[Kind, frozenset[str]], what: str) -> None:
    for kind in sorted(kinds):
        if actor.role not in table[kind]:
            needed = ", ".join(sorted(table[kind]))
            raise ReviewError(
                f"role `{actor.role}` may not {what} {kind}; it takes one of: {needed}",
                f"角色 `{actor.role}` 无权{_DONE_ZH[what]} {kind}；须为：{needed}",
                forbidden=True,
            )


def _needs(steps: Sequence[Step], states: Sequence[State], done: str) -> None:
    state = state_of(steps)
    if state not in states:
        wanted = " or ".join(states)
        raise ReviewError(
            f"change `{steps[0].change_id}` is {state}; only what is {wanted} can be {done}",
            f"变更 `{steps[0].change_id}` {STATES_ZH[state]}；只有{'、'.join(STATES_ZH[one] for one in states)}的变更可以{_DONE_ZH[done]}",
        )
