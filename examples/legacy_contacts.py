"""A legacy campaign system that asks nobody: its contacts are reported, and count for every cap from then on.

Reads its send log (CSV in UTF-8, with or without a byte order mark: contact_id, customer_id, channel, offer_id,
sent_at), and may read it again from the start: a contact is known by its id. A channel key reports its own channel only, so each channel of the
log has one of its own (`nbo keys add sms-legacy --role channel`, then `email-legacy`); an admin's key would
report them all, and may do everything else too. Ends with 1 where a row was refused.

Try it: `python -m examples.legacy_contacts http://127.0.0.1:3000 log.csv sms=KEY email=KEY`
"""

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence

from examples.client import Client, Refused

COLUMNS = ("contact_id", "customer_id", "channel", "offer_id", "sent_at")
USAGE = "usage: python -m examples.legacy_contacts URL log.csv CHANNEL=KEY ..."


def report(clients: Mapping[str, Client], rows: Iterable[dict[str, str]]) -> tuple[int, list[str]]:
    """Report each row with its channel's key; how many are in the ledger now, and one line for each that was refused."""
    told, refused = 0, list[str]()
    for row in rows:
        client = clients.get(row["channel"])
        if client is None:
            refused.append(f"{row['contact_id']}: no key for channel `{row['channel']}`; add {row['channel']}=KEY")
            continue
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


def main(arguments: Sequence[str]) -> int:
    """Report a log; 0 when every row is in the ledger, else 1, and 2 where the arguments do not hold or the log lacks a column."""
    given = [argument.partition("=") for argument in arguments[2:]]
    keys = {channel: key for channel, _, key in given}
    if not keys or not all(keys.values()):
        print(USAGE, file=sys.stderr)
        return 2
    clients = {channel: Client(arguments[0], key) for channel, key in keys.items()}
    with open(arguments[1], newline="", encoding="utf-8-sig") as log:  # noqa: PTH123
        rows = csv.DictReader(log)
        if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
            print(
                f"{arguments[1]} has no column `{'`, `'.join(missing)}`; its first line names the columns",
                file=sys.stderr,
            )
            return 2
        told, refused = report(clients, rows)
    print(f"{told} contacts reported")
    if refused:
        print(f"{len(refused)} refused:", *refused, sep="\n", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
