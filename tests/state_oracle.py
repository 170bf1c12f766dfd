"""The truth the state columns are compared with: definitions tried out instant by instant, from raw ledger rows.

It shares the declarations (names, windows, days) with the engine and nothing else: no intervals, no
sweeps, no joins. Rows are mappings with the ledger's column names; instants are micros.
"""

from itertools import pairwise
from typing import Any

import pyarrow as pa

from rules.caps import ContactCount
from rules.catalogue import Catalogue
from rules.cooloffs import CoolOff
from rules.policy import ContactPolicy
from rules.suppressions import EventSuppression, Movement
from rules.types import INSTANT

Row = dict[str, Any]
DAY = 86_400_000_000


def state(policy: ContactPolicy, catalogue: Catalogue, who: tuple[str, str], window: tuple[int, int],
          contacts: list[Row], outcomes: list[Row], suppressions: list[Row]) -> dict[str, float]:  # fmt: skip
    """Every ledger column of one customer; who: (customer_id, unit_id). The tables whole, strangers included."""
    customer, unit = who
    counting = [c for c in contacts if c["state"] in ("reserved", "claimed", "sent") and c["purpose"] == "marketing"
                and c["direction"] == "outbound" and c["unit_id"] == unit]  # fmt: skip
    mine = [o for o in outcomes if o["customer_id"] == customer]
    sent = [c for c in counting if c["customer_id"] == customer and c["state"] == "sent" and c["sent_at"] is not None]
    found: dict[str, float] = {}
    for count in policy.counts(catalogue):
        counted = [place(c) for c in counting if counts(count, c, customer)]
        found[count.name] = float(most_in_one_window(count, counted, window))
    for pause in policy.cool_offs:
        for about in pause.abouts(catalogue):
            found[pause.column(about)] = days_left(pause, about, window[0], sent, mine)
    for part in policy.event_suppressions:
        for currency in part.currencies:
            rows = [s for s in suppressions if (s["customer_id"], s["rule_id"], s["currency"]) == (customer, part.id, currency)]  # fmt: skip
            found[part.column(currency)] = max([suppressed(part, row, window[0], sent, mine) for row in rows], default=0.0)  # fmt: skip
    for asked in policy.precedents():
        facts = ([(c["sent_at"], c) for c in sent] if asked.once == "sent"
                 else [(o["at"], o) for o in mine if o["kind"] == "accepted"])  # fmt: skip
        found[asked.name] = float(sum(
            window[0] - at >= asked.at_least_days * DAY and window[1] - at < asked.within_days * DAY
            and asked.family in (None, row["family"]) and asked.offer in (None, row["offer_id"]) for at, row in facts))  # fmt: skip
    return found


def place(contact: Row) -> tuple[int, int]:
    """Where a contact lies: where it was sent, else anywhere in its send window."""
    at = contact["sent_at"]
    return (contact["send_after"], contact["send_before"]) if at is None else (at, at)


def counts(count: ContactCount, contact: Row, customer: str) -> bool:
    """Whether the counter is about this contact."""
    asked = ((count.channel, "channel"), (count.family, "family"), (count.offer, "offer_id"), (count.campaign, "campaign_id"))  # fmt: skip
    return (count.unit or contact["customer_id"] == customer) and all(value in (None, contact[name]) for value, name in asked)  # fmt: skip


def most_in_one_window(count: ContactCount, places: list[tuple[int, int]], window: tuple[int, int]) -> int:
    """Try every window that could matter, with the new contact at every instant that could matter."""
    width, edges = count.window_days * DAY, [edge for span in (*places, window) for edge in span]
    near = {edge + move + a_bit for edge in edges for move in (-width, 0, width) for a_bit in (-1, 0, 1)}
    if count.side == "around":
        begins = {s for s in near if s > window[0] - width and s <= window[1]}
    else:
        new = {t for t in near if window[0] <= t <= window[1]}
        begins = {t - width + 1 for t in new} if count.side == "before" else new
    return max((sum(starts <= s + width - 1 and ends >= s for starts, ends in places) for s in begins), default=0)


def ignored_since(contact: Row, after_days: int, outcomes: list[Row]) -> int | None:
    """From when the customer has ignored the contact; None: never."""
    said = [o for o in outcomes if o["contact_id"] == contact["contact_id"]]
    deadline = contact["sent_at"] + after_days * DAY
    if any(o["kind"] not in ("delivered", "no_response") and o["at"] <= deadline for o in said):
        return None
    return min([deadline, *(o["at"] for o in said if o["kind"] == "no_response")])


def days_left(pause: CoolOff, about: str, at: int, sent: list[Row], outcomes: list[Row]) -> float:
    """Days left of a cool-off: each cause that completes the count begins it anew."""
    column = {"family": "family", "offer": "offer_id", "channel": "channel"}.get(pause.about)
    causes = [(o["at"], o) for o in outcomes if o["kind"] in pause.outcomes]
    if "ignored" in pause.outcomes:
        causes += [(since, c) for c in sent if (since := ignored_since(c, pause.ignored_after_days, outcomes)) is not None]  # fmt: skip
    times = sorted(t for t, row in causes if t <= at and (column is None or row[column] == about))
    left = 0.0
    for last in range(len(times)):
        group = times[max(0, last - pause.count + 1) : last + 1]
        if len(group) == pause.count and group[-1] - group[0] < pause.within_days * DAY:
            left = max(left, (group[-1] + pause.lasts_days * DAY - at) / DAY)
    assert all(a <= b for a, b in pairwise(times))
    return left


def stretches(part: EventSuppression, movements: list[Movement]) -> list[Row]:
    """Every stretch that the movements of one customer and currency open, sums taken from the whole list each time."""
    told = sorted(movements, key=lambda m: (m.booked_at, m.recorded_at, m.outflow_minor > 0, m.movement_id))
    found, settled, tail = list[Row](), 0, part.tail_days * DAY
    for place, move in enumerate(told):
        now, past = move.booked_at, told[: place + 1]
        if move.outflow_minor > 0:
            left = sum(m.outflow_minor for m in past[settled:] if m.booked_at > now - part.event.days * DAY)
            if part.event.happened(left, move.balance_minor):
                last = found[-1] if found else None
                if not last or last["closed_at"] is not None or now >= last["ends_at"]:
                    last = {"opened_at": now, "closed_at": None, "cause": move.movement_id, "left": left, "after": place + 1}  # fmt: skip
                    found.append(last)
                last["ends_at"] = now + part.lasts_days * DAY
        for row in found:
            if row["closed_at"] is None and now < row["ends_at"] + tail:
                since = past[row["after"] :]
                row["outflow_minor"] = row["left"] + sum(m.outflow_minor for m in since)
                back = sum(m.inflow_minor for m in since)
                if part.exit and move.inflow_minor > 0 and back >= part.exit.share * row["outflow_minor"]:
                    row["closed_at"] = now
                    settled = place + 1 if row is found[-1] else settled
    return found


def suppressed(part: EventSuppression, row: Row, at: int, sent: list[Row], outcomes: list[Row]) -> float:
    """Days left of one stretch with what ignored contacts before it add."""
    ends, longer = row["ends_at"], part.lengthened
    if longer:
        since = [ignored_since(c, longer.after_days, outcomes) for c in sent if c["family"] in part.families
                 and 0 <= row["opened_at"] - c["sent_at"] < longer.within_days * DAY]  # fmt: skip
        n_ignored = sum(instant is not None and instant <= at for instant in since)
        ends += min(longer.at_most_days, n_ignored // longer.ignored * longer.by_days) * DAY
    closed = row["closed_at"]
    holds = row["opened_at"] <= at < ends and (closed is None or at < closed)
    return (ends - at) / DAY if holds else 0.0


def table_of(kind: str, rows: list[Row]) -> pa.Table:
    """The rows as the ledger's table: contacts, outcomes or suppressions."""
    texts = {"contacts": ("contact_id", "customer_id", "unit_id", "offer_id", "family", "channel", "campaign_id", "purpose", "direction", "state"),
             "outcomes": ("contact_id", "kind", "customer_id", "offer_id", "family", "channel"), "suppressions": ("rule_id", "customer_id", "currency")}[kind]  # fmt: skip
    whole = {"contacts": ("decided_at", "send_after", "send_before", "sent_at"), "outcomes": ("at",), "suppressions": ("opened_at", "ends_at", "closed_at")}[kind]  # fmt: skip
    schema = pa.schema([*((name, pa.string()) for name in texts), *((name, pa.int64()) for name in whole)])
    return pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema=schema)


def people(who: list[tuple[str, str]], windows: list[tuple[int, int]]) -> pa.Table:
    """Customers with their send windows, as contact_state asks for them."""
    return pa.table({"customer_id": pa.array([c for c, _ in who], pa.string()), "unit_id": pa.array([u for _, u in who], pa.string()),
                     "send_after": pa.array([a for a, _ in windows], pa.int64()).cast(INSTANT), "send_before": pa.array([b for _, b in windows], pa.int64()).cast(INSTANT)})  # fmt: skip
