"""An SMS gateway: poll what is due, claim, send, report. Killed at any line it never texts anyone twice.

Its own journal holds, per contact, `claiming` and the claim's key before the claim, `sending` before the carrier is
called, and `sent` after. When it starts again, what stands at `claiming` it claims again with the same key: the
carrier has not been called yet, and the service refuses where the claim is over. What stands at `sending` it does not
send again: it asks the carrier by reference whether the text went, and gives the contact back when it did not.

No instant is read from this machine's clock: a second try would tell another one, and the service refuses
a known Idempotency-Key with another body. What came of a text is told with the instant at which it went
out, as the service answered it and the journal keeps it. A carrier that says when a text was delivered:
write that into the journal before telling it.

Try it: `python -m examples.sms_gateway http://127.0.0.1:3000 KEY journal.db`
"""

import sqlite3
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Protocol

from examples.client import Client, Refused

LATER = {"sent_at": "TEXT", "claim_key": "TEXT"}  # columns a journal of an earlier version has not


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
        self.journal.execute("CREATE TABLE IF NOT EXISTS texts (contact_id TEXT PRIMARY KEY, state TEXT NOT NULL)")
        known = {name for _, name, *_ in self.journal.execute("PRAGMA table_info(texts)")}
        for name in LATER.keys() - known:
            self.journal.execute(f"ALTER TABLE texts ADD COLUMN {name} {LATER[name]}")

    def turn(self) -> int:
        """Settle what an earlier run left, send what is due, report deliveries; how many texts went out."""
        sent = self._settle() + sum(self._one(contact["contact_id"]) for contact in self._due())
        self._report()
        return sent

    def _due(self) -> list[dict[str, Any]]:
        page = self.client.get("/v1/contacts", channel="sms")
        found = list(page["contacts"])
        while page["cursor"]:
            page = self.client.get("/v1/contacts", channel="sms", cursor=page["cursor"])
            found += page["contacts"]
        return found

    def _one(self, name: str) -> bool:
        # A key of this wish and this journal: another gateway's claim must not be answered as ours.
        key = f"claim-{uuid.uuid4().hex}"
        self._note(name, "claiming", claim_key=key)
        return self._claim(name, key)

    def _claim(self, name: str, key: str) -> bool:
        try:
            claimed = self.client.post(f"/v1/contacts/{name}/claim", key)
        except Refused as no:
            if no.status != 409:
                raise
            # He opted out, or marketing is paused, or our claim has run out: do not send.
            self._note(name, "not_claimed")
            return False
        self._note(name, "sending")
        self.carrier.send(name, claimed["customer_id"], claimed["treatment"])
        self._sent(name)
        return True

    def _settle(self) -> int:
        """Find out how far each text came before we died; how many went out only now."""
        for name, _, _ in self._all("sending"):
            if self.carrier.status(name) is not None:
                self._sent(name)
                continue
            try:
                self.client.post(f"/v1/contacts/{name}/cancel", f"cancel-{name}", {"reason": "not_sent"})
            except Refused as no:
                if no.status != 409:  # 409: somebody else has reported it sent
                    raise
            self._note(name, "not_sent")
        return sum(self._claim(name, key) for name, _, key in self._all("claiming"))

    def _sent(self, name: str) -> None:
        try:
            told = self.client.post(f"/v1/contacts/{name}/sent", f"sent-{name}")
        except Refused as no:
            if no.status != 409:
                raise
            self._note(name, "sent_unreported")  # closed by another key of the channel; the others still have to go
        else:
            self._note(name, "sent", told["at"])

    def _report(self) -> None:
        for name, sent_at, _ in self._all("sent"):
            if (status := self.carrier.status(name)) in ("delivered", "undelivered"):
                told = {"contact_id": name, "kind": status, "at": sent_at}
                try:
                    self.client.post("/v1/outcomes", f"{status}-{name}", told)
                except Refused as no:
                    if no.code != "key_reused":  # told already, with another instant, by a version that kept none
                        raise
                self._note(name, status, sent_at)

    def _note(self, name: str, state: str, sent_at: str | None = None, claim_key: str | None = None) -> None:
        row = (name, state, sent_at, claim_key)
        self.journal.execute(
            "INSERT OR REPLACE INTO texts (contact_id, state, sent_at, claim_key) VALUES (?, ?, ?, ?)", row
        )

    def _all(self, state: str) -> list[tuple[str, Any, Any]]:
        found = self.journal.execute("SELECT contact_id, sent_at, claim_key FROM texts WHERE state = ?", (state,))
        return found.fetchall()


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
