"""An app page: up to three offers when the customer opens it, and what became of each.

Opening a page is inbound: it spends no cap and knows no quiet hours. A refresh within the visit uses the
visit's key and shows the same offers.

Try it: `python -m examples.app_page http://127.0.0.1:3000 KEY CUSTOMER`
"""

import sys
from datetime import UTC, datetime
from typing import Any

from examples.client import Client


class Page:
    """The offers of one visit."""

    def __init__(self, client: Client, customer_id: str, visit_id: str) -> None:
        self.client = client
        body = {"customer_id": customer_id, "direction": "inbound", "channels": ["app"], "top": 3}
        self.decision = client.post("/v1/decisions", f"visit-{visit_id}", body)

    @property
    def offers(self) -> list[dict[str, Any]]:
        """Best first; empty: the page shows none, and `decision["reasons"]` says why."""
        return self.decision["choices"]

    def happened(self, contact_id: str, kind: str, at: datetime | None = None) -> None:
        """`opened` when it came on the screen, then `clicked`, `accepted` or `refused`.

        at: When, as the app has recorded it; null: when the service hears it. Never the clock of the moment: told
            again after a lost answer, it would be another body under the same key.
        """
        body = {"contact_id": contact_id, "kind": kind} | ({"at": at.isoformat()} if at else {})
        self.client.post("/v1/outcomes", f"{kind}-{contact_id}", body)


if __name__ == "__main__":
    page = Page(Client(sys.argv[1], sys.argv[2]), sys.argv[3], datetime.now(UTC).isoformat())
    for offer in page.offers or [page.decision]:
        print(offer)
