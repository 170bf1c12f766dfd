"""The review of a change as a state machine: what may follow what, by whom, and what is in force when."""

import itertools
from collections.abc import Callable

import pytest

from rules import review
from rules.review import Act, Actor, Kind, ReviewError, State, Step

ANNA, BOB, MIA, DAN = (Actor("anna", "compliance"), Actor("bob", "compliance"), Actor("mia", "marketing"), Actor("dan", "data_science"))  # fmt: skip
ROOT = Actor("root", "admin")
RULES = frozenset({Kind.RULES})
_number = itertools.count(1)


def step(act: Act, actor: Actor = ANNA, kinds: frozenset[Kind] = RULES, **more: object) -> Step:
    said = {"step_id": next(_number), "change_id": "c1", "base": "r0", "target": "r1", "at": 100} | more
    return Step(act=act, actor=actor, kinds=kinds, **said)  # type: ignore[arg-type]


PROPOSED = [step(Act.PROPOSE)]
CHECKED = [*PROPOSED, step(Act.CHECK, ROOT, passed=True)]
FAILED = [*PROPOSED, step(Act.CHECK, ROOT, passed=False)]
APPROVED = [*CHECKED, step(Act.APPROVE, BOB)]
BOOT = step(Act.BOOT, ROOT, change_id="first", target="r0", effective_at=0, at=0)
ACTIVATED = [*APPROVED, step(Act.ACTIVATE, effective_at=200)]
REJECTED, WITHDRAWN = [*CHECKED, step(Act.REJECT, BOB)], [*APPROVED, step(Act.WITHDRAW)]
ALL = {State.PROPOSED: PROPOSED, State.CHECKED: CHECKED, State.FAILED: FAILED, State.APPROVED: APPROVED, State.ACTIVATED: ACTIVATED,
       State.REJECTED: REJECTED, State.WITHDRAWN: WITHDRAWN, State.BOOTED: [BOOT]}  # fmt: skip
MAY: dict[str, tuple[Callable[[list[Step]], object], set[State]]] = {
    "check": (review.may_check, {State.PROPOSED, State.FAILED, State.CHECKED}),
    "approve": (lambda s: review.may_approve(BOB, s, s[0].target), {State.CHECKED, State.BOOTED}),
    "reject": (lambda s: review.may_reject(BOB, s), {State.PROPOSED, State.FAILED, State.CHECKED, State.APPROVED}),
    "withdraw": (lambda s: review.may_withdraw(ANNA, s), {State.PROPOSED, State.FAILED, State.CHECKED, State.APPROVED}),
    "activate": (lambda s: review.may_activate(ANNA, s, [BOOT], 150, 150), {State.APPROVED}),
}  # fmt: skip


@pytest.mark.parametrize("state", ALL)
def test_the_state_is_a_fold_of_the_steps(state: State) -> None:
    assert review.state_of(ALL[state]) is state


@pytest.mark.parametrize("act", MAY)
@pytest.mark.parametrize("state", ALL)
def test_p24_every_act_in_every_state(act: str, state: State) -> None:
    may, states = MAY[act]
    if state in states:
        may(ALL[state])
        return
    with pytest.raises(ReviewError) as refused:
        may(ALL[state])
    assert not refused.value.forbidden


@pytest.mark.parametrize("who", [ANNA, Actor(" Anna ", "admin"), Actor("ANNA", "compliance")])
def test_p24_the_author_approves_and_rejects_nothing_of_his_own(who: Actor) -> None:
    for may in (lambda: review.may_approve(who, CHECKED, "r1"), lambda: review.may_reject(who, CHECKED)):
        with pytest.raises(ReviewError, match="is the author") as refused:
            may()
        assert refused.value.forbidden


def test_p24_an_approval_is_of_exactly_what_was_seen() -> None:
    with pytest.raises(ReviewError, match="the change is `r1`, not `r2`; look at it again before approving"):
        review.may_approve(BOB, CHECKED, "r2")


def test_only_the_author_or_an_admin_withdraws() -> None:
    review.may_withdraw(ROOT, CHECKED)
    with pytest.raises(ReviewError, match="only its author, `anna`, or an admin") as refused:
        review.may_withdraw(BOB, CHECKED)
    assert refused.value.forbidden


# By hand, beside the tables of the code: (role, kind) -> may write, may judge.
WRITE = {("marketing", Kind.CATALOGUE), ("marketing", Kind.LEVERS), ("marketing", Kind.CAMPAIGNS), ("compliance", Kind.RULES),
         *(("admin", kind) for kind in Kind)}  # fmt: skip
JUDGE = WRITE | {("compliance", Kind.CATALOGUE), ("compliance", Kind.LEVERS), ("compliance", Kind.CAMPAIGNS)}


@pytest.mark.parametrize("role", ["channel", "marketing", "compliance", "data_science", "admin"])
@pytest.mark.parametrize("kind", Kind)
def test_p25_who_writes_and_who_judges_what(role: str, kind: Kind) -> None:
    for may, allowed in ((review.may_author, WRITE), (review.may_judge, JUDGE)):
        if (role, kind) in allowed:
            may(Actor("x", role), [kind])
        else:
            with pytest.raises(ReviewError, match=f"role `{role}` may not") as refused:
                may(Actor("x", role), [kind])
            assert refused.value.forbidden


def test_p25_a_change_of_two_kinds_takes_a_role_for_both() -> None:
    with pytest.raises(ReviewError, match="may not change rules"):
        review.may_author(MIA, [Kind.CAMPAIGNS, Kind.RULES])
    with pytest.raises(ReviewError, match="may not change campaigns"):
        review.may_author(ANNA, [Kind.CAMPAIGNS, Kind.RULES])


def test_what_is_in_force_is_the_last_that_has_begun() -> None:
    later = step(Act.ACTIVATE, target="r1", effective_at=200)
    assert review.in_force([later, BOOT], -1) is None
    assert [review.in_force([later, BOOT], at).target for at in (0, 199, 200)] == ["r0", "r0", "r1"]  # type: ignore[union-attr]


def test_nothing_is_activated_in_the_past_before_another_or_upon_another_set() -> None:
    with pytest.raises(ReviewError, match="in the past"):
        review.may_activate(ANNA, APPROVED, [BOOT], 150, 149)
    ahead = step(Act.ACTIVATE, change_id="c0", target="r0", effective_at=500)
    with pytest.raises(ReviewError, match="`c0` comes into force later than that"):
        review.may_activate(ANNA, APPROVED, [BOOT, ahead], 150, 499)
    moved = step(Act.ACTIVATE, change_id="c0", target="r9", effective_at=120)
    with pytest.raises(ReviewError, match="`c0` came into force after this was proposed"):
        review.may_activate(ANNA, APPROVED, [BOOT, moved], 150, 150)
    with pytest.raises(ReviewError, match="may not activate rules"):
        review.may_activate(MIA, APPROVED, [BOOT], 150, 150)


def turn(change: str, base: str, target: str, at: int, act: Act = Act.ACTIVATE) -> Step:
    return step(act, change_id=change, base=base, target=target, effective_at=at, at=at)


def test_p23_rollbacks_go_back_one_set_after_the_other() -> None:
    kinds = {"c1": RULES, "c2": RULES}
    every = [BOOT, turn("c1", "r0", "r1", 10), turn("c2", "r1", "r2", 20)]
    undone, target, at = review.rolled_back(BOB, every, kinds, 30)
    assert (undone.change_id, target, at) == ("c2", "r1", 30)
    every.append(turn("c2", "r2", "r1", 30, Act.ROLLBACK))
    undone, target, at = review.rolled_back(BOB, every, kinds, 40)
    assert (undone.change_id, target, at) == ("c1", "r0", 40)
    every.append(turn("c1", "r1", "r0", 40, Act.ROLLBACK))
    with pytest.raises(ReviewError, match="nothing to go back to"):
        review.rolled_back(BOB, every, kinds, 50)
    assert review.in_force(every, 50).target == "r0"  # type: ignore[union-attr]


def test_what_was_dated_ahead_is_undone_before_it_begins() -> None:
    every = [BOOT, turn("c1", "r0", "r1", 900)]
    undone, target, at = review.rolled_back(BOB, every, {"c1": RULES}, 30)
    assert (undone.change_id, target, at) == ("c1", "r0", 900)
    every.append(turn("c1", "r1", "r0", 900, Act.ROLLBACK))
    assert {review.in_force(every, at).target for at in (0, 899, 900, 901)} == {"r0"}  # type: ignore[union-attr]


def test_p25_a_rollback_takes_a_role_for_what_it_undoes() -> None:
    with pytest.raises(ReviewError, match="may not approve or refuse rules"):
        review.rolled_back(MIA, [BOOT, turn("c1", "r0", "r1", 10)], {"c1": RULES}, 30)


def test_the_states_of_the_service_are_those_of_the_review() -> None:
    from typing import get_args

    from serving.http.messages.change import StateName

    assert set(get_args(StateName)) == set(State)
