"""The gateway, the desk and the page, over real HTTP, as they would run in the bank."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from examples.app_page import Page
from examples.call_desk import SAID, Desk
from examples.call_desk import main as call_at_the_desk
from examples.client import Client, Refused
from examples.sms_gateway import Gateway
from tests.examples.conftest import Served, due_text, due_texts
from tests.home import DOLLAR_OFFERS, HERO, HERO_DOLLARS, rows, said


class Died(BaseException):
    """The gateway's process ends here."""


class Telephone:
    """A carrier that remembers what it sent, and kills the gateway at a step of ours."""

    def __init__(self, dies: str | None = None) -> None:
        self.texts: list[str] = []
        self.dies = dies

    def send(self, reference: str, customer_id: str, treatment: str | None) -> None:
        if self.dies == "before the carrier":
            raise Died
        self.texts.append(reference)
        if self.dies == "after the carrier":
            raise Died

    def status(self, reference: str) -> str | None:
        return "delivered" if reference in self.texts else None


class Broken(Client):
    """A line that breaks at one kind of request: before it arrives, or after it, and the answer is lost."""

    def __init__(self, whole: Client, breaks: str, *, arrives: bool = True) -> None:
        super().__init__(whole.url, whole.key)
        self.breaks, self.arrives = breaks, arrives

    def post(self, path: str, key: str, body=None):
        if path.endswith(self.breaks):
            if self.arrives:
                super().post(path, key, body)
            raise Died
        return super().post(path, key, body)


class Stale(Client):
    """A client that was told what is due a moment ago."""

    def __init__(self, whole: Client, due: dict[str, Any]) -> None:
        super().__init__(whole.url, whole.key)
        self.due = due

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self.due


def state(served: Served, contact: str) -> str:
    [(found,)] = rows(served.office, "SELECT state FROM contacts WHERE contact_id = ?", contact)
    return found


def test_the_gateway_sends_what_is_due_and_reports_it(served: Served, tmp_path: Path) -> None:
    contact, telephone = due_text(served), Telephone()
    gateway = Gateway(served.client("sms-gateway"), telephone, tmp_path / "journal")
    assert gateway.turn() == 1
    assert telephone.texts == [contact]
    assert state(served, contact) == "sent"
    outcomes = rows(served.office, "SELECT kind FROM outcomes WHERE contact_id = ?", contact)
    assert outcomes == [("delivered",)]
    assert gateway.turn() == 0
    assert telephone.texts == [contact]


@pytest.mark.parametrize("dies", ["before the carrier", "after the carrier"])
def test_a_gateway_that_dies_at_the_carrier_never_texts_twice(served: Served, tmp_path: Path, dies: str) -> None:
    contact, telephone, client = due_text(served), Telephone(dies), served.client("sms-gateway")
    with pytest.raises(Died):
        Gateway(client, telephone, tmp_path / "journal").turn()
    telephone.dies = None
    Gateway(client, telephone, tmp_path / "journal").turn()
    assert telephone.texts == ([contact] if dies == "after the carrier" else [])
    assert state(served, contact) == ("sent" if dies == "after the carrier" else "closed")


@pytest.mark.parametrize("breaks", ["/claim", "/sent", "/outcomes"])
@pytest.mark.parametrize("arrives", [True, False])
def test_a_gateway_that_dies_between_two_calls_texts_once(
    served: Served, tmp_path: Path, breaks: str, *, arrives: bool
) -> None:
    """Mutant: the journal begins after the claim. Killed between the two, it forgot the text."""
    contact, telephone, client = due_text(served), Telephone(), served.client("sms-gateway")
    with pytest.raises(Died):
        Gateway(Broken(client, breaks, arrives=arrives), telephone, tmp_path / "journal").turn()
    gateway = Gateway(client, telephone, tmp_path / "journal")
    gateway.turn()
    gateway.turn()
    assert telephone.texts == [contact]
    assert state(served, contact) == "sent"


@pytest.mark.parametrize("since", ["an opt-out", "a minute"])
def test_a_gateway_gives_up_a_claim_that_is_over_when_it_starts_again(
    served: Served, tmp_path: Path, since: str
) -> None:
    """Mutant: what stands at `claiming` is sent without asking."""
    contact, telephone, client = due_text(served), Telephone(), served.client("sms-gateway")
    with pytest.raises(Died):
        Gateway(Broken(client, "/claim"), telephone, tmp_path / "journal").turn()
    if since == "a minute":
        served.clock.forward(minutes=1)
    else:
        [(customer,)] = rows(served.office, "SELECT customer_id FROM contacts WHERE contact_id = ?", contact)
        client.post("/v1/consents", "no", said(served.clock.now, customer=customer).model_dump(mode="json"))
    gateway = Gateway(client, telephone, tmp_path / "journal")
    assert (gateway.turn(), gateway.turn(), telephone.texts) == (0, 0, [])
    assert gateway.journal.execute("SELECT contact_id, state FROM texts").fetchall() == [(contact, "not_claimed")]


def test_a_gateway_is_not_given_another_gateways_claim(served: Served, tmp_path: Path) -> None:
    """Mutant: a key made of the contact alone. A second journal got the claim of the first, and texted again."""
    contact, telephone, client = due_text(served), Telephone("after the carrier"), served.client("sms-gateway")
    other, due = Gateway(client, telephone, tmp_path / "other"), client.get("/v1/contacts", channel="sms")
    with pytest.raises(Died):
        Gateway(client, telephone, tmp_path / "journal").turn()
    other.client = Stale(client, due)
    assert (other.turn(), telephone.texts) == (0, [contact])


def test_a_gateway_goes_on_when_a_contact_was_closed_while_it_sent(served: Served, tmp_path: Path) -> None:
    """Mutant: the 409 of `sent` raised, in this turn and every later one; the other texts never go."""
    contacts, telephone, client = due_texts(served, 2), Telephone(), served.client("sms-gateway")
    gateway = Gateway(client, telephone, tmp_path / "journal")

    def cancelled_by_hand(reference: str, customer_id: str, treatment: str | None) -> None:
        telephone.texts.append(reference)
        if len(telephone.texts) == 1:
            client.post(f"/v1/contacts/{reference}/cancel", "by-hand")

    telephone.send = cancelled_by_hand
    assert gateway.turn() == 2
    assert Gateway(client, telephone, tmp_path / "journal").turn() == 0
    assert sorted(telephone.texts) == sorted(contacts)
    told = dict(gateway.journal.execute("SELECT contact_id, state FROM texts"))
    assert [told[name] for name in telephone.texts] == ["sent_unreported", "delivered"]


def test_a_gateway_goes_on_with_a_journal_of_an_earlier_version(served: Served, tmp_path: Path) -> None:
    """Mutant: no column added: `no such column: sent_at`, for ever."""
    contacts, telephone, client = due_texts(served, 2), Telephone(), served.client("sms-gateway")
    with closing(sqlite3.connect(tmp_path / "journal", isolation_level=None)) as journal:
        journal.execute("CREATE TABLE texts (contact_id TEXT PRIMARY KEY, state TEXT NOT NULL)")
        for name, stood in zip(contacts, ("sending", "sent"), strict=True):
            client.post(f"/v1/contacts/{name}/claim", f"claim-{name}")
            if stood == "sent":
                client.post(f"/v1/contacts/{name}/sent", f"sent-{name}")
                told = {"contact_id": name, "kind": "delivered", "at": served.clock.now.isoformat()}
                client.post("/v1/outcomes", f"delivered-{name}", told)
            journal.execute("INSERT INTO texts VALUES (?, ?)", (name, stood))
    telephone.texts = list(contacts)
    gateway = Gateway(client, telephone, tmp_path / "journal")
    assert (gateway.turn(), telephone.texts) == (0, contacts)
    assert [state(served, name) for name in contacts] == ["sent", "sent"]
    assert gateway.journal.execute("SELECT DISTINCT state FROM texts").fetchall() == [("delivered",)]


def test_a_gateway_whose_report_lost_its_answer_reports_it_again_and_goes_on(served: Served, tmp_path: Path) -> None:
    """The second try has to tell the same instant: under its key any other body is refused for ever."""
    contacts, telephone, client = due_texts(served, 2), Telephone(), served.client("sms-gateway")
    with pytest.raises(Died):
        Gateway(Broken(client, "/outcomes"), telephone, tmp_path / "journal").turn()
    served.clock.forward(minutes=1)
    gateway = Gateway(client, telephone, tmp_path / "journal")
    assert gateway.turn() == 0
    told = rows(served.office, "SELECT o.contact_id, kind, at = sent_at FROM outcomes o JOIN contacts USING (contact_id)"
                " WHERE o.contact_id IN (?, ?) ORDER BY o.contact_id", *contacts)  # fmt: skip
    assert told == [(contact, "delivered", 1) for contact in sorted(contacts)]
    assert gateway.journal.execute("SELECT DISTINCT state FROM texts").fetchall() == [("delivered",)]


def test_p12_an_opt_out_before_the_claim_leaves_the_text_unsent(served: Served, tmp_path: Path) -> None:
    contact, telephone = due_text(served), Telephone()
    [(customer,)] = rows(served.office, "SELECT customer_id FROM contacts WHERE contact_id = ?", contact)
    client = served.client("sms-gateway")
    consent = said(served.clock.now, customer=customer).model_dump(mode="json")
    client.post("/v1/consents", "opt-out", consent)
    assert Gateway(client, telephone, tmp_path / "journal").turn() == 0
    assert telephone.texts == []


def test_the_desk_asks_shows_why_and_do_not_call_ends_calls(served: Served) -> None:
    desk = Desk(served.client("call-desk"))
    decision = desk.ask(HERO, "call-1")
    assert decision["offer_id"] in DOLLAR_OFFERS
    assert desk.ask(HERO, "call-1") == decision
    assert all(desk.why(decision["decision_id"]))
    contact = decision["choices"][0]["contact_id"]
    assert desk.tell(contact, "do not call")["new"]
    served.clock.forward(minutes=1)
    again = desk.client.post("/v1/decisions", "out-1", {"customer_id": HERO, "channels": ["call"]})
    assert again["choices"] == []
    assert set(again["reasons"]) & {"opted_out", "do_not_contact", "do_not_call"}


@pytest.mark.parametrize("answer", sorted(SAID))
def test_each_answer_at_the_desk_is_taken_once(served: Served, answer: str) -> None:
    desk = Desk(served.client("call-desk"))
    decision = desk.ask(HERO, "call-1")
    contact = decision["choices"][0]["contact_id"]
    told = [desk.tell(contact, answer), Desk(desk.client).tell(contact, answer)]
    assert told[0] == told[1]
    assert rows(served.office, "SELECT kind FROM outcomes WHERE contact_id = ?", contact) == [(SAID[answer],)]


def test_do_not_call_at_the_desk_is_newer_than_a_grant_in_the_same_call(served: Served) -> None:
    """Mutant: the outcome dated with the decision. The grant of a minute ago wins, and he is called again."""
    desk = Desk(served.client("call-desk"))
    decision = desk.ask(HERO, "call-1")
    served.clock.forward(seconds=30)
    granted = said(served.clock.now, "granted", HERO, "call").model_dump(mode="json")
    assert desk.client.post("/v1/consents", "grant", granted)["new"]
    served.clock.forward(seconds=30)
    assert desk.tell(decision["choices"][0]["contact_id"], "do not call")["new"]
    served.clock.forward(days=1)
    again = desk.client.post("/v1/decisions", "out-1", {"customer_id": HERO, "channels": ["call"]})
    assert again["choices"] == [] and "opted_out" in again["reasons"]


@pytest.mark.parametrize(("says", "asked"), [("refuse", 3), ("do not call", 1), ("wrong number", 1)])
def test_the_desk_offers_nothing_more_to_who_wants_no_call(
    monkeypatch: pytest.MonkeyPatch, says: str, asked: int
) -> None:
    """Mutant: on to the next offer. Told `accept` after `do not call`, it would have sold to him."""
    told = list[str]()
    decision = {"decision_id": "d", "choices": [{"contact_id": f"d-{n}", "offer_id": "x"} for n in range(3)]}
    monkeypatch.setattr(Desk, "ask", lambda *_: decision)
    monkeypatch.setattr(Desk, "why", lambda *_: [])
    monkeypatch.setattr(Desk, "tell", lambda _, contact, said: told.append(contact))
    monkeypatch.setattr("sys.argv", ["call_desk", "http://x", "KEY", HERO])
    monkeypatch.setattr("builtins.input", lambda _: says)
    call_at_the_desk()
    assert told == [f"d-{n}" for n in range(asked)]


def test_a_page_shows_up_to_three_spends_no_cap_and_a_refusal_takes_the_offer_away(served: Served) -> None:
    client = served.client("app-page")
    page = Page(client, HERO, "visit-1")
    assert 1 <= len(page.offers) <= 3
    assert Page(client, HERO, "visit-1").offers == page.offers
    first = page.offers[0]
    for kind in ("opened", "refused", "refused"):
        page.happened(first["contact_id"], kind)
    Page(client, HERO, "visit-1").happened(first["contact_id"], "refused")  # the app was closed and opened again
    told = rows(served.office, "SELECT kind FROM outcomes WHERE contact_id = ? ORDER BY kind", first["contact_id"])
    assert told == [("opened",), ("refused",)]
    served.clock.forward(minutes=1)
    later = Page(client, HERO, "visit-2")
    assert first["offer_id"] not in [offer["offer_id"] for offer in later.offers]
    assert client.post("/v1/decisions", "push-1", {"customer_id": HERO})["channel"] is not None


def test_a_refusal_is_an_exception_with_its_code(served: Served) -> None:
    with pytest.raises(Refused) as no:
        Client(served.client("sms-x").url, "no-key").get("/v1/contacts", channel="sms")
    assert (no.value.status, no.value.code) == (401, "unauthorised")


def test_p29_the_dollars_leave_and_come_back_over_http_in_both_directions(served: Served) -> None:
    """The very next decision after the withdrawal, outbound and inbound, on every channel; and back when they come back."""
    teller, desk = served.client("app-core"), Desk(served.client("call-desk"))

    def offered(key: str) -> set[str]:
        ways = (
            {"direction": "outbound"},
            {"direction": "inbound", "top": 3},
            {"direction": "inbound", "channels": ["call"], "top": 3},
        )
        asked = [teller.post("/v1/decisions", f"{key}-{n}", {"customer_id": HERO, **way}) for n, way in enumerate(ways)]
        found = {choice["offer_id"] for one in asked for choice in one["choices"]}
        return (found | {choice["offer_id"] for choice in desk.ask(HERO, key)["choices"]}) & set(DOLLAR_OFFERS)

    def moved(name: str, kind: str, amount: int, balance: int) -> dict[str, Any]:
        at = served.clock.now.isoformat()
        return teller.post("/v1/events", name, {
            "event_id": name, "customer_id": HERO, "kind": kind, "amount_minor": amount, "currency": "USD",
            "balance_after_minor": balance, "booked_at": at, "recorded_at": at})  # fmt: skip

    assert offered("before")
    assert moved("out", "cash_withdrawal", -1_150_000, HERO_DOLLARS - 1_150_000)["opened"] == ["outflow"]
    assert not offered("after")
    silent = teller.post("/v1/decisions", "proof", {"customer_id": HERO, "direction": "inbound"})
    closed = [cell["reasons"] for cell in teller.get(f"/v1/decisions/{silent['decision_id']}/why")["cells"]
              if cell["offer_id"] in DOLLAR_OFFERS]  # fmt: skip
    assert closed and all("recent_outflow" in reasons for reasons in closed), "compliance can pull the proof"
    served.clock.forward(days=3)
    assert moved("in", "cash_deposit", 1_150_000, HERO_DOLLARS)["closed"] == ["outflow"]
    assert offered("back")
