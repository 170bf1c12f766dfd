"""The law of response: how a customer in a given state of mind answers, pure and known.

With needs z, annoyance a (contacts of the last months, weighted and fading), sigma the logistic
function, o an offer, c a channel:

    p_reached[c]  = sigma(reach_logit[c] + taste_channel[c] + age term - 0.25 a); dead address: 0
    p_accept[o]   = sigma(yes_logit[o] + weights[o] . z + taste[o] + funds term - 0.15 a)
    p_organic[o]    = sigma(organic_logit[o] + 0.9 weights[o] . z + taste_organic[o] + funds term)
    p_harm[c]     = sigma(harm_logit[c] + temper + 0.75 a)          complaint or opt-out
    p_leaves      = sigma(-6.3 + 1.35 z[leaving] + 0.20 a)          within the coming month

p_accept is P(accept | reached): the channel does not matter once the customer listens. A contact
that reaches the customer replaces what he would have done alone about that offer for 30 days, so
P(takes it | contacted on c) = p_reached p_accept + (1 - p_reached) p_organic, and the effect of the
contact is p_reached (p_accept - p_organic).
"""

from dataclasses import dataclass, fields

import numpy as np

from simulation.people import People
from simulation.world import (
    CHANNELS,
    LEAVING,
    NEEDS,
    OFFERS,
    PRODUCT_CURRENCY,
    PRODUCT_INDEX,
    PRODUCTS,
    Flags,
    Floats,
    Ints,
)

_WEIGHTS = np.array([[offer.needs.get(need, 0.0) for offer in OFFERS] for need in NEEDS])
_YES = np.array([offer.yes_logit for offer in OFFERS])
_ORGANIC = np.array([offer.organic_logit for offer in OFFERS])
_PERSONS_ONLY = np.array([offer.persons_only for offer in OFFERS])
_ONCE = np.array([not offer.repeatable for offer in OFFERS])
_NEEDS_SALARY = np.array([offer.needs_salary for offer in OFFERS])
_REACH = np.array([channel.reach_logit for channel in CHANNELS])
_HARM = np.array([channel.harm_logit for channel in CHANNELS])
LEAVING_WEIGHT = 1.35
_YOUNG_CHANNEL = np.array([0.0, -0.008, -0.022, 0.010, 0.015])  # per year of age above 45
_LACKS_FUNDS, _HOLDS_ALREADY, _NO_SALARY = -1.8, -0.8, -2.0
_ENTRY = np.array([(PRODUCTS[PRODUCT_INDEX[o.product]].entry_minor or 0) if o.product else 0 for o in OFFERS])
_ENTRY_CURRENCY = np.array([PRODUCT_CURRENCY[PRODUCT_INDEX[o.product]] if o.product else 0 for o in OFFERS])


@dataclass(frozen=True)
class Minds:
    """All that answers depend on, a row per customer: (n,) unless said."""

    needs: Floats  # (n, needs)
    taste: Floats  # (n, offers)
    taste_organic: Floats  # (n, offers)
    taste_channel: Floats  # (n, channels)
    works: Flags  # (n, channels): a message arrives
    temper: Floats
    annoyance: Floats
    age_years: Floats
    is_firm: Flags
    earns: Flags
    funds_minor: Ints  # (n, currencies): free money, in minor units of each
    holds: Flags  # (n, offers): has the offer's product already
    active: Flags  # still a customer, and alive

    def take(self, rows: Ints) -> "Minds":
        """The minds of some rows."""
        return Minds(*(getattr(self, f.name)[rows] for f in fields(self)))


def minds_of(
    people: People, needs: Floats, earns: Flags, works: Flags, annoyance: Floats, funds: Ints,
    holds: Flags, active: Flags,
) -> Minds:  # fmt: skip
    """The minds of a block in its present state."""
    return Minds(
        needs, people.taste, people.taste_organic, people.taste_channel, works, people.temper,
        annoyance, people.age_years, people.is_firm, earns, funds, holds, active,
    )  # fmt: skip


def p_reached(minds: Minds) -> Floats:
    """P(opens, answers or listens | contacted on the channel), (n, channels)."""
    logit = _REACH + minds.taste_channel - 0.25 * minds.annoyance[:, None]
    logit = logit + _YOUNG_CHANNEL * (minds.age_years[:, None] - 45)
    return np.where(minds.works & minds.active[:, None], _sigma(logit), 0.0)


def p_accept(minds: Minds) -> Floats:
    """P(accepts | reached, offer), (n, offers)."""
    logit = _YES + minds.needs @ _WEIGHTS + minds.taste - 0.15 * minds.annoyance[:, None]
    return _possible(minds, _sigma(logit + _circumstances(minds)))


def p_organic(minds: Minds) -> Floats:
    """P(takes the offer's product within 30 days without any contact), (n, offers)."""
    logit = _ORGANIC + 0.9 * (minds.needs @ _WEIGHTS) + minds.taste_organic
    return _possible(minds, _sigma(logit + _circumstances(minds)))


def p_harm(minds: Minds) -> Floats:
    """P(complains or opts out | contacted on the channel), (n, channels)."""
    return np.where(minds.active[:, None], harm(minds.temper, minds.annoyance), 0.0)


def harm(temper: Floats, annoyance: Floats) -> Floats:
    """p_harm of active customers with this temper and annoyance, (n, channels)."""
    return _sigma(_HARM + temper[:, None] + 0.75 * annoyance[:, None])


def p_leaves(minds: Minds) -> Floats:
    """P(closes all accounts within the coming month), (n,)."""
    logit = -6.3 + LEAVING_WEIGHT * minds.needs[:, LEAVING] + 0.20 * minds.annoyance
    return np.where(minds.active, _sigma(logit), 0.0)


def p_churn(minds: Minds) -> Floats:
    """P(closes all accounts within 90 days if nothing changes meanwhile), (n,)."""
    return 1 - (1 - p_leaves(minds)) ** 3


def _circumstances(minds: Minds) -> Floats:
    poor = minds.funds_minor[:, _ENTRY_CURRENCY] < _ENTRY
    return _LACKS_FUNDS * poor + _HOLDS_ALREADY * minds.holds + _NO_SALARY * (_NEEDS_SALARY & ~minds.earns[:, None])


def _possible(minds: Minds, p: Floats) -> Floats:
    never = (_ONCE & minds.holds) | (_PERSONS_ONLY & minds.is_firm[:, None]) | ~minds.active[:, None]
    return np.where(never, 0.0, p)


def _sigma(logit: Floats) -> Floats:
    return 1 / (1 + np.exp(-logit))
