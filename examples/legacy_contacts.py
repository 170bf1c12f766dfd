"""A legacy campaign system that asks nobody: its contacts are reported, and count for every cap from then on.

Reads its send log (CSV: contact_id, customer_id, channel, offer_id, sent_at), and may read it again from
the start: a contact is known by its id.

Try it: `python -m examples.legacy_contacts http://127.0.0.1:3000 KEY log.csv`
"""

import csv
import sys
from collections.abc import Iterable

from examples.client import Client, Refused


def report(client: Client, rows: Iterable[dict[str, str]]) -> tuple[int, list[str]]:
    """Report each row; how many are in the ledger now, and one line for each that was refused."""
    told, refused = 0, list[str]()
    for row in rows:
        body = {"contact_id": row["contact_id"], "customer_id": row["customer_id"], "channel": row["channel"],
                "purpose": "marketing", "offer_id": row["offer_id"] or None, "sent_at": row["sent_at"]}  # fmt: skip
        try:
            client.post("/v1/contacts", f"legacy-{row['contact_id']}", body)
            told += 1
        except Refused as no:
            if no.status >= 500:
                raise
            refused.append(f"{row['contact_id']}: {no}")
    return told, refused


if __name__ == "__main__":
    with open(sys.argv[3], newline="", encoding="utf-8") as log:  # noqa: PTH123
        done, lines = report(Client(sys.argv[1], sys.argv[2]), csv.DictReader(log))
    print(f"{done} contacts reported", *lines, sep="\n")
