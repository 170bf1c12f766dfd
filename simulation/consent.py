"""What customers allowed and took back, and which addresses are known to work."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from simulation.columns import customer_ids, instants, table_of, words
from simulation.people import People
from simulation.world import CHANNEL_IDS, DAY_US, N_CHANNELS, Flags, Ints

PURPOSES: Final = ("marketing", "profiling")
SCOPES: Final = (*CHANNEL_IDS, "mail", "all")
ALL: Final = len(SCOPES) - 1
STATES: Final = ("granted", "denied", "withdrawn")
GRANTED, DENIED, WITHDRAWN = range(3)
SOURCES: Final = ("form", "branch", "app", "call")
WORDINGS: Final = ("v1", "v2", "v3")
REACH_STATES: Final = ("ok", "missing", "bounced", "dead")
OK, MISSING, BOUNCED, DEAD = range(4)

Row = tuple[Ints, Ints, Ints, Ints, Ints, Ints]


@dataclass
class Consents:
    """Marketing consent (n, channels) and reachability (n, channels and mail) as they stand.

    `reach` holds codes of REACH_STATES, -1 where the bank never wrote anything down.
    """

    people: People
    granted: Flags
    reach: Ints
    rows: list[Row] = field(default_factory=list[Row])  # who, purpose, scope, state, source, at
    reach_rows: list[tuple[Ints, Ints, Ints, Ints]] = field(default_factory=list[tuple[Ints, Ints, Ints, Ints]])

    @classmethod
    def begin(cls, rng: np.random.Generator, people: People) -> "Consents":
        """What was said and known at joining."""
        n = len(people)
        joined = people.joined_on * DAY_US + rng.integers(1, DAY_US // 3, n)
        consents = cls(people, np.zeros((n, N_CHANNELS), np.bool_), np.full((n, 6), OK, np.int64))
        consents._say_at_joining(rng, joined)
        consents._know_at_joining(rng, joined)
        return consents

    def usable(self) -> Flags:
        """Channels that the CRM may and can use for marketing, (n, channels)."""
        return self.granted & self.reachable()

    def reachable(self) -> Flags:
        """Channels not known to fail, (n, channels)."""
        return self.reach[:, :N_CHANNELS] <= OK

    def withdraw(self, who: Ints, channel: Ints, everything: Flags, at: Ints) -> None:
        """Book withdrawals: of one channel, or of all where `everything`."""
        scope = np.where(everything, ALL, channel)
        self._say(who, 0, scope, WITHDRAWN, np.where(channel == 3, 3, 2), at)
        self.granted[who, channel] = False
        self.granted[who[everything]] = False

    def bounce(self, who: Ints, channel: Ints, at: Ints) -> None:
        """Write down that a channel no longer reaches them."""
        self.reach[who, channel] = BOUNCED
        self.reach_rows.append((who, channel, np.full(len(who), BOUNCED), at))

    def tables(self, keep: tuple[int, int], until_us: int) -> tuple[pa.Table, pa.Table]:
        """Consents and reachability of the customers keep[0] .. keep[1] - 1 of the block."""
        who, purpose, scope, state, source, at = _kept(self.rows, keep, until_us)
        # One grant in twenty-five runs out three years after it was given.
        expires = (who + scope) % 25 == 0
        consents = table_of("consents", {
            "customer_id": customer_ids(self.people.number[who]),
            "purpose": words(PURPOSES, purpose), "channel": words(SCOPES, scope),
            "state": words(STATES, state), "source": words(SOURCES, source),
            "wording": words(WORDINGS, np.clip((at // DAY_US - 14_600) // 1_800, 0, 2)),
            "at": instants(at),
            "expires_at": instants(at + 1_096 * DAY_US, ~(expires & (state == GRANTED))),
        })  # fmt: skip
        who, channel, state, at = _kept(self.reach_rows, keep, until_us)
        reachability = table_of("reachability", {
            "customer_id": customer_ids(self.people.number[who]),
            "channel": words(SCOPES, channel), "state": words(REACH_STATES, state),
            "at": instants(at),
        })  # fmt: skip
        return consents, reachability

    def _say(self, who: Ints, purpose: int, scope: Ints, state: int, source: Ints, at: Ints) -> None:
        def constant(code: int) -> Ints:
            return np.full(len(who), code)

        self.rows.append((who, constant(purpose), scope, constant(state), source, at))

    def _say_at_joining(self, rng: np.random.Generator, joined: Ints) -> None:
        n = len(joined)
        u, source = rng.random(n), rng.integers(0, 3, n)
        # 74 % grant everything, 12 % some channels, 7 % deny, 7 % were never asked.
        for low, high, state in ((0.0, 0.74, GRANTED), (0.86, 0.93, DENIED)):
            who = np.flatnonzero((u >= low) & (u < high))
            self._say(who, 0, np.full(len(who), ALL), state, source[who], joined[who])
        self.granted[u < 0.74] = True
        some = rng.random((n, N_CHANNELS)) < 0.55
        for channel in range(N_CHANNELS):
            who = np.flatnonzero((u >= 0.74) & (u < 0.86))
            for state, said in ((GRANTED, some[who, channel]), (DENIED, ~some[who, channel])):
                self._say(
                    who[said],
                    0,
                    np.full(said.sum(), channel),
                    state,
                    source[who[said]],
                    joined[who[said]],
                )
            self.granted[who, channel] = some[who, channel]
        profiling = rng.random(n) < 0.7
        for state, said in (
            (GRANTED, profiling & ~self.people.no_profiling),
            (DENIED, self.people.no_profiling),
        ):
            who = np.flatnonzero(said)
            self._say(who, 1, np.full(len(who), ALL), state, source[who], joined[who])

    def _know_at_joining(self, rng: np.random.Generator, joined: Ints) -> None:
        n = len(joined)
        lacks_app = np.clip(0.15 + 0.012 * (self.people.age_years - 40), 0.05, 0.8)
        missing = np.stack([np.full(n, 0.02), np.full(n, 0.12), lacks_app, np.full(n, 0.02),
                            np.full(n, 0.01), np.full(n, 0.03)], axis=1)  # fmt: skip
        u = rng.random((n, 6))
        self.reach[u < missing] = MISSING
        self.reach[u > 0.985] = BOUNCED
        self.reach[u > 0.996] = DEAD
        self.reach[rng.random((n, 6)) < 0.03] = -1
        who, channel = np.nonzero(self.reach >= 0)
        self.reach_rows.append((who, channel, self.reach[who, channel], joined[who]))


def _kept(rows: list[tuple[Ints, ...]], keep: tuple[int, int], until_us: int) -> list[Ints]:
    columns = [np.concatenate(part) for part in zip(*rows, strict=True)]
    who, at = columns[0], columns[-1]
    kept = np.flatnonzero((who >= keep[0]) & (who < keep[1]) & (at < until_us))
    order = kept[np.lexsort((at[kept], who[kept]))]
    return [column[order] for column in columns]
