"""The ledger as a list in memory, slow and obvious: what the simulator compares the real one with."""

from dataclasses import dataclass, field

CLAIM_AHEAD = 60_000_000


@dataclass
class Contact:
    """A contact of the naive ledger."""

    name: str
    customer: str
    channel: str
    state: str
    after: int
    before: int
    source: str = "decision"
    why: str | None = None


@dataclass
class Naive:
    """Household `units[c]`; at most `cap` counting contacts of a unit whose windows share a stretch of `width`."""

    units: dict[str, str]
    cap: int
    width: int
    contacts: dict[str, Contact] = field(default_factory=dict)
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    outcomes: set[tuple[str, str, int]] = field(default_factory=set)
    words: list[tuple[str, str, str, int]] = field(default_factory=list)  # customer, channel, state, at
    events: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    bookings: dict[str, tuple[str, int]] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    asked: dict[str, str] = field(default_factory=dict)
    now: int = 0

    def counting(self, unit: str) -> list[Contact]:
        """Those that count now: all but closed ones, and what can no longer be claimed."""
        return [c for c in self.contacts.values() if self.units[c.customer] == unit and c.state != "closed"
                and not (c.state == "reserved" and c.before <= self.now)]  # fmt: skip

    def most(self, unit: str, after: int, before: int) -> int:
        """The most contacts one window of `width` may hold beside a new one in [after, before]."""
        found = self.counting(unit)
        begins = {
            after - self.width + 1,
            before,
            *(c.before for c in found),
            *(c.after - self.width + 1 for c in found),
        }
        return max(
            sum(c.after < s + self.width and c.before >= s for c in found)
            for s in begins
            if after - self.width < s <= before
        )

    def silent(self, customer: str, channel: str) -> bool:
        """Whether his last word on the channel, or on all, was no."""
        said = [w for w in self.words if w[0] == customer and w[1] in (channel, "all")]
        if not said:
            return False
        return max(said, key=lambda w: (w[3], self.words.index(w)))[2] != "granted"

    def reserve(self, key: str, body: str, customer: str, channel: str, delay: int, window: int) -> str:
        """`made`, `silence`, or `conflict`; the same key says the same again."""
        if key in self.keys:
            return self.keys[key][1] if self.keys[key][0] == body else "conflict"
        after, before = self.now + delay, self.now + delay + window
        blocked = {"all", f"channel:{channel}"} & self.paused or self.silent(customer, channel)
        answer = "silence" if blocked or self.most(self.units[customer], after, before) >= self.cap else "made"
        if answer == "made":
            self.contacts[key] = Contact(key, customer, channel, "reserved", after, before)
        self.keys[key] = (body, answer)
        return answer

    def move(self, name: str, action: str) -> str:
        """`done`, `refused` or `unknown`."""
        c = self.contacts.get(name)
        if c is None:
            return "unknown"
        if action == "claim":
            if c.state == "reserved" and (
                {"all", f"channel:{c.channel}"} & self.paused or self.silent(c.customer, c.channel)
            ):
                c.state, c.why = "closed", "recalled"
                return "refused"
            if c.state != "reserved" or not c.after - CLAIM_AHEAD <= self.now < c.before:
                return "refused"
            c.state = "claimed"
            return "done"
        if action == "sent":
            if c.state == "sent":
                return "done"
            if c.state != "claimed":
                return "refused"
            c.state, c.after, c.before = "sent", self.now, self.now
            return "done"
        if c.state == "sent":
            return "refused"
        if c.state != "closed":
            c.state, c.why = "closed", c.why or action
        return "done"

    def expire(self) -> int:
        """How many were closed."""
        dead = [c for c in self.contacts.values() if c.state == "reserved" and c.before <= self.now]
        for c in dead:
            c.state, c.why = "closed", "expired"
        return len(dead)

    def outcome(self, name: str, kind: str) -> str:
        """`new`, `known`, `refused` or `unknown`; an opt-out is a word too."""
        c = self.contacts.get(name)
        if c is None:
            return "unknown"
        if c.state == "reserved" and kind != "opted_out":
            return "refused"
        if (name, kind, self.now) in self.outcomes:
            return "known"
        self.outcomes.add((name, kind, self.now))
        if kind == "opted_out":
            self.say(c.customer, c.channel, "withdrawn", self.now)
        return "new"

    def say(self, customer: str, channel: str, state: str, at: int) -> bool:
        """Whether it is new; a refusal that is his last word takes back what is reserved, and marks what is claimed."""
        word = (customer, channel, state, at)
        if word in self.words:
            return False
        self.words.append(word)
        later = any(w[0] == customer and w[3] > at and w[1] in (channel, "all") for w in self.words)
        if state != "granted" and not later:
            for c in self.contacts.values():
                if c.customer == customer and c.state in ("reserved", "claimed") and channel in ("all", c.channel):
                    c.state, c.why = "closed" if c.state == "reserved" else "claimed", "recalled"
        return True

    def event(self, name: str, booking: str, customer: str, amount: int) -> str:
        """`new`, `known` or `conflict`."""
        if name in self.events:
            return "known" if self.events[name] == (customer, booking, amount) else "conflict"
        if booking in self.bookings:
            return "known" if self.bookings[booking] == (customer, amount) else "conflict"
        self.events[name] = (customer, booking, amount)
        self.bookings[booking] = (customer, amount)
        return "new"

    def external(self, name: str, customer: str, channel: str) -> bool:
        """Whether it was new."""
        if name in self.contacts:
            return False
        self.contacts[name] = Contact(name, customer, channel, "sent", self.now, self.now, "external")
        return True

    def turn(self, scope: str, action: str, who: str) -> str:
        """`paused`, `asked`, `running` or `refused`."""
        if action == "pause":
            self.paused.add(scope)
            self.asked.pop(scope, None)
            return "paused"
        if scope not in self.paused or self.asked.get(scope) == who:
            return "refused"
        if scope not in self.asked:
            self.asked[scope] = who
            return "asked"
        self.paused.discard(scope)
        del self.asked[scope]
        return "running"
