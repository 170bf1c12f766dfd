"""What the rows say, by SQL alone: caps broken, answers lost, customers contacted twice.

Imports nothing of ours. Takes a connection of sqlite3 or psycopg; the statements suit both. The
caps are those of rules/policies/retail.yaml, written down again.
"""

import hashlib
import json
from collections import Counter
from typing import Any

DAY = 86_400_000_000
# (whose, narrowed by a column or a value of channel, at most, within days)
CAPS = (
    ("customer_id", "channel", "sms", 2, 7),
    ("customer_id", "channel", "email", 2, 7),
    ("customer_id", "channel", "app", 2, 7),
    ("customer_id", "channel", "call", 1, 30),
    ("customer_id", None, None, 3, 7),
    ("customer_id", None, None, 8, 30),
    ("customer_id", "family", None, 5, 30),
    ("unit_id", None, None, 1, 1),
)
# What the house decided itself: others' contacts are told when they have happened, and may break a cap.
COUNTED = """
SELECT contact_id, customer_id, unit_id, channel, family, {place} AS t FROM contacts
WHERE source = 'decision' AND direction = 'outbound' AND purpose = 'marketing' AND state <> 'closed'
  AND NOT (state = 'reserved' AND send_before <= CAST((SELECT value FROM meta WHERE name = 'last_seen') AS BIGINT))
"""
PLACES = ("COALESCE(sent_at, send_after)", "COALESCE(sent_at, send_before)")


def over_cap(connection: Any) -> int:
    """Contacts with which a window of some cap holds more than it may, each placed as early or as late as it can be."""
    found = 0
    for whose, column, value, at_most, days in CAPS:
        same = f" AND b.{column} = a.{column}" if column else ""
        only = f" AND a.{column} = '{value}'" if value else ""
        for place in PLACES:
            found += _one(connection, f"""
                WITH counted AS ({COUNTED.format(place=place)})
                SELECT count(*) FROM counted a WHERE (
                    SELECT count(*) FROM counted b WHERE b.{whose} = a.{whose}{same} AND b.t >= a.t AND b.t < a.t + {days * DAY}
                ) > {at_most}{only}""")  # fmt: skip
    return found


def doubled(connection: Any, log: list[dict[str, Any]]) -> int:
    """Decisions with two contacts, keys with two answers, contacts claimed under two keys."""
    found = _one(connection, """
        SELECT count(*) FROM (SELECT decision_id FROM contacts WHERE source = 'decision' AND direction = 'outbound'
                              GROUP BY decision_id HAVING count(*) > 1) twice""")  # fmt: skip
    answers = {(one["route"], one["key"], one["sha256"]) for one in log}
    found += sum(n > 1 for n in Counter((route, key) for route, key, _ in answers).values())
    claims = {(one["contact_id"], one["key"]) for one in log if one.get("claimed")}
    return found + sum(n > 1 for n in Counter(contact for contact, _ in claims).values())


def lost(connection: Any, log: list[dict[str, Any]]) -> int:
    """Acknowledged answers whose rows, or whose stored bytes, are not there."""
    held = {name: _column(connection, name, column) for name, column in (
        ("decisions", "decision_id"), ("contacts", "contact_id"), ("events", "event_id"), ("consents", "consent_id"))}  # fmt: skip
    outcomes = set(_rows(connection, "SELECT contact_id, kind FROM outcomes"))
    claimed = {row[0] for row in _rows(connection, "SELECT contact_id FROM contacts WHERE claimed_at IS NOT NULL")}
    stored = {(route, key): hashlib.sha256(bytes(answer)).hexdigest()
              for route, key, answer in _rows(connection, "SELECT route, key, answer FROM idempotency")}  # fmt: skip
    found = 0
    for one in log:
        found += stored.get((one["route"], one["key"])) != one["sha256"]
        found += sum(name not in held[table] for table, names in one.get("rows", {}).items() for name in names)
        found += "outcome" in one and tuple(one["outcome"]) not in outcomes
        found += bool(one.get("claimed")) and one["contact_id"] not in claimed
    return found


def unrecorded(connection: Any) -> int:
    """Contacts of decisions nobody recorded."""
    return _one(connection, """
        SELECT count(*) FROM contacts c WHERE source = 'decision'
        AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.decision_id = c.decision_id)""")  # fmt: skip


def verdict(connection: Any, log: list[dict[str, Any]]) -> dict[str, int]:
    """All counts; every one should be 0."""
    return {"over cap": over_cap(connection), "double": doubled(connection, log), "lost": lost(connection, log),
            "unrecorded": unrecorded(connection)}  # fmt: skip


def read_log(text: str) -> list[dict[str, Any]]:
    """The client's log: one JSON object a line; a line cut off by a kill was not acknowledged."""
    whole = text.rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def _one(connection: Any, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])


def _rows(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(sql).fetchall()]


def _column(connection: Any, table: str, column: str) -> set[str]:
    return {row[0] for row in _rows(connection, f"SELECT {column} FROM {table}")}
