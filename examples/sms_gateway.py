"""An SMS gateway: poll what is due, claim, send, report. Killed at any line it never texts anyone twice.

Its own journal holds, per contact, `sending` before the carrier is called and `sent` after. What stands
at `sending` when it starts again it does not send again: it asks the carrier by reference whether the
text went, and gives the contact back when it did not.

No instant is read from this machine's clock: a second try would tell another one, and the service refuses
a known Idempotency-Key with another body. What came of a text is told with the instant at which it went
out, as the service answered it and the journal keeps it. A carrier that says when a text was delivered:
write that into the journal before telling it.

Try it: `python -m examples.sms_gateway http://127.0.0.1:3000 KEY journal.db`
"""

import sqlite3
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from examples.client import Client, Refused


class Carrier(Protocol):
    """Whoever brings texts to telephones."""

    def send(self, reference: str, customer_id: str, treatment: str | None) -> None:
        """Send one text; `reference` is ours, to ask by."""
        ...

    def status(self, reference: str) -> str | None:
        """`delivered`, `undelivered`, `accepted` (under way), or null: never heard of it."""
        ...


class Gateway:
    """One run of the gateway over its journal."""

    def __init__(self, client: Client, carrier: Carrier, journal: Path) -> None:
        self.client, self.carrier = client, carrier
        self.journal = sqlite3.connect(journal, isolation_level=None)
        self.journal.execute("PRAGMA synchronous = FULL")
        self.journal.execute(  # sent_at: null while `sending`
            "CREATE TABLE IF NOT EXISTS texts (contact_id TEXT PRIMARY KEY, state TEXT NOT NULL, sent_at TEXT)"
        )

    def turn(self) -> int:
        """Settle what an earlier run left, send what is due, report deliveries; how many texts went out."""
        self._settle()
        sent = sum(self._one(contact) for contact in self._due())
        self._report()
        return sent

    def _due(self) -> list[dict[str, Any]]:
        page = self.client.get("/v1/contacts", channel="sms")
        found = list(page["contacts"])
        while page["cursor"]:
            page = self.client.get("/v1/contacts", channel="sms", cursor=page["cursor"])
            found += page["contacts"]
        return found

    def _one(self, contact: dict[str, Any]) -> bool:
        name = contact["contact_id"]
        try:
            claimed = self.client.post(f"/v1/contacts/{name}/claim", f"claim-{name}")
        except Refused as no:
            if no.status != 409:
                raise
            return False  # he opted out, or marketing is paused, since the decision: do not send
        self._note(name, "sending")
        self.carrier.send(name, claimed["customer_id"], claimed["treatment"])
        self._sent(name)
        return True

    def _settle(self) -> None:
        """Of what stands at `sending`, find out whether it went out before we died."""
        for name, _ in self._all("sending"):
            if self.carrier.status(name) is not None:
                self._sent(name)
                continue
            try:
                self.client.post(f"/v1/contacts/{name}/cancel", f"cancel-{name}", {"reason": "not_sent"})
            except Refused as no:
                if no.status != 409:  # 409: the claim has run out and the contact is closed already
                    raise
            self._note(name, "not_sent")

    def _sent(self, name: str) -> None:
        told = self.client.post(f"/v1/contacts/{name}/sent", f"sent-{name}")
        self._note(name, "sent", told["at"])

    def _report(self) -> None:
        for name, sent_at in self._all("sent"):
            if (status := self.carrier.status(name)) in ("delivered", "undelivered"):
                told = {"contact_id": name, "kind": status, "at": sent_at}
                self.client.post("/v1/outcomes", f"{status}-{name}", told)
                self._note(name, status, sent_at)

    def _note(self, name: str, state: str, sent_at: str | None = None) -> None:
        self.journal.execute("INSERT OR REPLACE INTO texts VALUES (?, ?, ?)", (name, state, sent_at))

    def _all(self, state: str) -> list[tuple[str, str | None]]:
        return self.journal.execute("SELECT contact_id, sent_at FROM texts WHERE state = ?", (state,)).fetchall()


class Printer:
    """A carrier for trying it out: prints the text, delivers at once."""

    def __init__(self) -> None:
        self._gone: set[str] = set()

    def send(self, reference: str, customer_id: str, treatment: str | None) -> None:
        """Print it."""
        self._gone.add(reference)
        print(f"text {treatment} to {customer_id}")

    def status(self, reference: str) -> str | None:
        """Delivered, if this run sent it."""
        return "delivered" if reference in self._gone else None


if __name__ == "__main__":
    gateway = Gateway(Client(sys.argv[1], sys.argv[2]), Printer(), Path(sys.argv[3]))
    while True:
        gateway.turn()
        time.sleep(10)
