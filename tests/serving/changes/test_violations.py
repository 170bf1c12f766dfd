"""P24 and P25: every way past the second person, over real HTTP and through the command; nothing is in force after it.

A row: where the change stands, the act, and how it is refused. The status is that of HTTP; the command says the same
in one line.
"""

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from features.home import Home
from rules.liveset import files_in, revision_of
from rules.review import Actor
from serving.changes import desk
from serving.changes.desk import Desk, examine
from serving.changes.live import open_engine
from serving.http.messages import ChangeResponse
from serving.http.messages.base import Words
from serving.ledger import changes
from serving.office import open_ledger
from tests.home import NOW, Clock, ask, office_at
from tests.serving.changes.conftest import PASSED, Command, Refused, Review, live_bytes, new_rule

Act = Callable[[Review, ChangeResponse], object]
FAILED = PASSED.model_copy(
    update={"passed": False, "problems": (Words(en="case `x`: expected open", zh="用例 `x`：应为开放"),)}
)


def handed_in(review: Review, *, check: bool = True) -> str:
    """A change of anna's in a process of its own, checked or not."""
    home = Home.open(review.bank)
    with open_ledger(home) as ledger:
        engine = open_engine(home, ledger)
        change = ledger.write(
            lambda c: Desk(engine, c, ledger.secret, ledger.now_micros()).propose(
                Actor("anna", "compliance"), new_rule(review.bank), "test"
            ),
            touches=changes.CHANGES,
        ).result()
        if check:
            examine(engine, ledger, change, Actor("checker", "admin"))
    return change


def brought(review: Review, state: str, monkeypatch: pytest.MonkeyPatch) -> ChangeResponse:
    """A change of anna's that stands where the row begins."""
    if state == "failed":
        monkeypatch.setattr(desk, "check", lambda *_: FAILED)
    change = handed_in(review, check=state != "proposed")
    if state in ("approved", "activated", "rolled_back"):
        review.approve("bob", change)
    if state in ("activated", "rolled_back"):
        review.activate("anna", change)
    if state == "rolled_back":
        review.rollback("bob")
    if state in ("rejected", "withdrawn"):
        review.judge("bob" if state == "rejected" else "anna", state.removesuffix("ed").removesuffix("n"), change)
    found = review.shown(change)
    assert found.state == state
    return found


def approve(who: str, revision: str | None = None) -> Act:
    return lambda review, change: review.approve(who, change.change_id, revision or change.revision)


def judge(who: str, verb: str) -> Act:
    return lambda review, change: review.judge(who, verb, change.change_id)


def activate(who: str, by: timedelta | None = None) -> Act:
    return lambda review, change: review.activate(who, change.change_id, None if by is None else NOW + by)


def rollback(who: str) -> Act:
    return lambda review, change: review.rollback(who)


ROWS: dict[str, tuple[str, Act, int, str]] = {
    "its author approves it": ("checked", approve("anna"), 403, "is the author"),
    "its author approves it under another key": ("checked", approve("ANNA"), 403, "is the author"),
    "its author rejects it": ("checked", judge("anna", "reject"), 403, "withdraw it instead"),
    "another withdraws it": ("checked", judge("bob", "withdraw"), 403, "only its author"),
    "a revoked key approves": ("checked", approve("gone"), 401, "key"),
    "an expired key approves": ("checked", approve("late"), 401, "key"),
    "an unknown key approves": ("checked", approve("nobody"), 401, "key"),
    "a revoked key activates": ("approved", activate("gone"), 401, "key"),
    "an expired key rolls back": ("activated", rollback("late"), 401, "key"),
    "marketing approves rules": ("checked", approve("mia"), 403, "may not approve or refuse rules"),
    "marketing rejects rules": ("checked", judge("mia", "reject"), 403, "may not approve or refuse rules"),
    "marketing activates rules": ("approved", activate("mia"), 403, "may not activate rules"),
    "marketing rolls rules back": ("activated", rollback("mia"), 403, "may not approve or refuse rules"),
    "data science approves": ("checked", approve("dan"), 403, "data_science"),
    "data science activates": ("approved", activate("dan"), 403, "data_science"),
    "data science rolls back": ("activated", rollback("dan"), 403, "data_science"),
    "a channel approves": ("checked", approve("sms-gateway"), 403, "channel"),
    "a channel rolls back": ("activated", rollback("sms-gateway"), 403, "channel"),
    "other bytes are approved": ("checked", approve("bob", "0" * 64), 409, "look at it again before approving"),
    "unchecked is approved": ("proposed", approve("bob"), 409, "is not checked yet"),
    "a failed check is approved": ("failed", approve("bob"), 409, "failed its check"),
    "it is approved twice": ("approved", approve("root"), 409, "is approved"),
    "rejected is approved": ("rejected", approve("bob"), 409, "is rejected"),
    "withdrawn is approved": ("withdrawn", approve("bob"), 409, "is withdrawn"),
    "in force is approved": ("activated", approve("root"), 409, "is activated"),
    "unchecked is activated": ("proposed", activate("bob"), 409, "is proposed"),
    "a failed check is activated": ("failed", activate("bob"), 409, "is failed"),
    "unapproved is activated": ("checked", activate("bob"), 409, "is checked"),
    "rejected is activated": ("rejected", activate("bob"), 409, "is rejected"),
    "withdrawn is activated": ("withdrawn", activate("anna"), 409, "is withdrawn"),
    "it is activated twice": ("activated", activate("bob"), 409, "is activated"),
    "what was rolled back is activated": ("rolled_back", activate("bob"), 409, "is rolled_back"),
    "it comes into force in the past": ("approved", activate("bob", timedelta(seconds=-1)), 409, "in the past"),
    "in force is rejected": ("activated", judge("bob", "reject"), 409, "is activated"),
    "in force is withdrawn": ("activated", judge("anna", "withdraw"), 409, "is activated"),
    "the first set is rolled back": ("checked", rollback("bob"), 409, "nothing to go back to"),
    "there is no such change": ("checked", lambda review, _: review.activate("bob", "c00000000000"), 404, "no such change"),
}  # fmt: skip


def steps(bank: Path) -> list[str]:
    with open_ledger(Home.open(bank)) as ledger, ledger.read() as connection:
        return [entry.signature for entry in changes.entries(connection)]


@pytest.mark.parametrize("row", ROWS)
def test_p24_p25_no_way_past_the_second_person(
    review: Review, bank: Path, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, act, status, said = ROWS[row]
    change = brought(review, state, monkeypatch)
    before, taken = live_bytes(bank), steps(bank)
    with pytest.raises(Refused) as refused:
        act(review, change)
    assert (refused.value.status, said in str(refused.value)) == (status, True), str(refused.value)
    assert live_bytes(bank) == before and steps(bank) == taken
    assert review.shown(change.change_id).state == state


def test_the_table_reaches_every_state_and_role(review: Review) -> None:
    """Not a row fewer than there are states; the mutant of a table that forgets one is this test."""
    from rules.review import State

    assert {row[0] for row in ROWS.values()} == {str(s) for s in State} - {"booted"}
    assert {row[2] for row in ROWS.values()} == {401, 403, 404, 409}


def test_p24_bytes_changed_after_the_approval_never_come_into_force(review: Review, bank: Path) -> None:
    """The draft is edited after the approval: what was approved holds, the edit waits for its own approval."""
    change = review.propose("anna", new_rule(bank))
    review.approve("bob", change.change_id)
    draft = bank / "policies" / "retail.yaml"
    draft.write_text(draft.read_text("utf-8").replace("when: deceased\n", "when: deceased AND staff\n", 1), "utf-8")
    review.activate("bob", change.change_id)
    assert revision_of(live_bytes(bank)) == change.revision
    assert "deceased AND staff" not in live_bytes(bank)["policies/retail.yaml"]


def test_p24_a_text_changed_in_the_database_after_the_approval_is_refused(review: Review, bank: Path) -> None:
    before = live_bytes(bank)
    change = handed_in(review)
    if isinstance(review, Command):
        review.approve("bob", change)
    else:
        review.approve("bob", change)
        review.office.engine.siblings.clear()  # another worker, or the next start
    connection = sqlite3.connect(bank / "nbo.db")
    with connection:
        connection.execute("DROP TRIGGER texts_stay_update")
        forged = "UPDATE texts SET body = replace(body, 'balance_usd_minor >= 1100000', 'balance_usd_minor >= 9') WHERE body LIKE '%dollar_rich%'"
        assert connection.execute(forged).rowcount == 2
    connection.close()
    with pytest.raises(Refused, match="is not what was stored"):
        review.activate("bob", change)
    assert live_bytes(bank) == before


def test_p09_what_is_dated_ahead_holds_from_its_instant_on(review: Review, bank: Path, clock: Clock) -> None:
    def decides() -> str:
        office = office_at(bank, clock)
        try:
            return ask(office, f"C{clock.now.minute + 40:07d}").revisions["live_set"]
        finally:
            office.close()

    first = revision_of(files_in(bank))
    change = review.propose("anna", new_rule(bank))
    review.approve("bob", change.change_id)
    made = review.activate("anna", change.change_id, NOW + timedelta(hours=1))
    assert made.state == "activated" and made.effective_at == NOW + timedelta(hours=1) and not made.in_force
    assert decides() == first
    clock.forward(minutes=59)
    assert decides() == first
    clock.forward(minutes=1)
    assert decides() == change.revision
