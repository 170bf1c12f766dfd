"""A call-centre desk: the customer calls, the agent sees what to offer and why, and tells what he said.

Try it: `python -m examples.call_desk http://127.0.0.1:3000 KEY CUSTOMER`
"""

import sys
import uuid
from datetime import datetime
from typing import Any

from examples.client import Client

SAID = {"accept": "accepted", "refuse": "refused", "later": "later", "wrong number": "wrong_number",
        "do not call": "do_not_call"}  # fmt: skip
ENDS = ("wrong number", "do not call")  # after these nothing more is offered in the call


class Desk:
    """One agent's screen."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def ask(self, customer_id: str, call_id: str) -> dict[str, Any]:
        """What to offer in this call, or silence with its reasons. The same call asks once: `call_id` is the key."""
        body = {"customer_id": customer_id, "direction": "inbound", "channels": ["call"], "top": 3}
        return self.client.post("/v1/decisions", f"call-{call_id}", body)

    def why(self, decision_id: str) -> list[str]:
        """The account in words, best reason first, as the agent may read it out."""
        account = self.client.get(f"/v1/decisions/{decision_id}/why")
        return [sentence["en"] for sentence in account["sentences"]]

    def tell(self, contact_id: str, said: str, at: datetime | None = None) -> dict[str, Any]:
        """What he said in that call, one of SAID; it acts from the next decision on, in every channel.

        at: When, as the desk has recorded it; null: when the service hears it, so that his no is newer than whatever
            he granted in the call. Never the clock of the moment: the button pressed twice would tell two instants
            under one key, and be refused.
        """
        kind = SAID[said]
        body = {"contact_id": contact_id, "kind": kind} | ({"at": at.isoformat()} if at else {})
        return self.client.post("/v1/outcomes", f"{kind}-{contact_id}", body)


def main() -> None:
    """One call at the terminal."""
    desk, customer = Desk(Client(sys.argv[1], sys.argv[2])), sys.argv[3]
    decision = desk.ask(customer, uuid.uuid4().hex)
    print("\n".join(desk.why(decision["decision_id"])))
    for choice in decision["choices"]:
        print(f"offer {choice['offer_id']}")
        said = input(f"he says ({', '.join(SAID)}): ")
        desk.tell(choice["contact_id"], said)
        if said in ENDS:
            break


if __name__ == "__main__":
    main()
