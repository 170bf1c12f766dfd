"""The bank's old CRM: whom it contacted, about what, where, and what came of it.

Six rounds a month. In each it takes some of the customers it may contact (more often the wealthy:
a bias models must survive), draws an offer from 65 % habit and 35 % pure chance among the offers
it thinks possible, and a channel by habit among the usable ones. p_chosen is the probability of
this offer and this channel given that the customer is contacted in the round. Annoyance rises with
every marketing contact and halves in 30 days. One customer in twenty (notes: `legacy_control`) is
never marketed to, drawn at random.
"""

from typing import Final

import numpy as np

from simulation import response
from simulation.block import Block
from simulation.cases import COMPLAINT
from simulation.contactlog import ContactLog, Contacts
from simulation.months import Month
from simulation.takeup import promise
from simulation.world import (
    ANNOYANCE_HALF_LIFE_DAYS,
    APP,
    BRANCH,
    CALL,
    CHANNELS,
    DAY_US,
    EXPLORE_SHARE,
    OFFERS,
    PRODUCT_CURRENCY,
    PRODUCT_INDEX,
    SECOND_US,
    Flags,
    Floats,
    Ints,
)

ROUNDS: Final = 6
_MARKETING_RATE, _SERVICE_RATE = 0.145, 0.024  # per customer and round
_FADE = 0.5 ** (30 / ROUNDS / ANNOYANCE_HALF_LIFE_DAYS)
_IRRITATION = np.array([channel.irritation for channel in CHANNELS])
_SHARE = np.array([channel.share for channel in CHANNELS])
_HABIT = np.array([0.3, 0.4, 1.0, 0.4, 0.3, 0.2, 0.5, 0.5, 0.0, -1.2])
_LIKES_MONEY = np.array([0.5, 0.3, 0.5, 0.6, 0.4, 0.2, 0.0, -0.5, 0.0, 0.0])
_CURRENCY = np.array([PRODUCT_CURRENCY[PRODUCT_INDEX[o.product]] if o.product else 0 for o in OFFERS])
_PERSONS_ONLY = np.array([offer.persons_only for offer in OFFERS])
_ONCE = np.array([not offer.repeatable for offer in OFFERS])


def contact_round(block: Block, log: ContactLog, month: Month, number: int) -> None:
    """One round of marketing and service contacts, with everything that follows from them."""
    block.annoyance *= _FADE
    _market(block, log, month, number)
    _serve(block, log, month, number)


def _market(block: Block, log: ContactLog, month: Month, number: int) -> None:
    rng, people = block.rng, block.people
    usable = block.consents.usable()
    may = block.active(month.number) & usable.any(axis=1) & ~people.do_not_contact & ~people.in_control
    wealth = _money(block)
    rate = _MARKETING_RATE * people.contact_factor * np.exp(0.25 * wealth)
    who = np.flatnonzero(may & (rng.random(len(people)) < np.minimum(rate, 0.5)))
    offer, p_offer = _draw(rng, _offer_chances(block, who, wealth))
    habit = usable[who] * _SHARE
    channel, p_channel = _draw(rng, habit / habit.sum(axis=1, keepdims=True))
    minds = block.minds(month.number).take(who)
    rows = np.arange(len(who))
    p_reached = response.p_reached(minds)[rows, channel]
    p_accept = response.p_accept(minds)[rows, offer]
    p_harm = response.p_harm(minds)[rows, channel]
    decided, sent = _when(block, month, number, who)
    was_sent = sent > 0
    reached = (rng.random(len(who)) < p_reached) & was_sent
    contacts = Contacts(
        who, offer, channel, np.zeros_like(who), np.zeros_like(who),
        np.full_like(who, month.number), decided, sent, p_offer * p_channel,
        p_reached, p_accept, p_harm, block.annoyance[who], reached,
        reached & (rng.random(len(who)) < p_accept), was_sent & (rng.random(len(who)) < p_harm),
    )  # fmt: skip
    _follow(block, log, contacts, log.add(contacts))
    block.annoyance[who[was_sent]] += _IRRITATION[channel[was_sent]]
    block.listened[who[reached], offer[reached]] = True


def _serve(block: Block, log: ContactLog, month: Month, number: int) -> None:
    """Service messages go out, and customers call, come by or open the app themselves."""
    rng, people = block.rng, block.people
    fit = block.active(month.number) & block.consents.reachable().any(axis=1)
    who = np.flatnonzero(fit & (rng.random(len(people)) < _SERVICE_RATE))
    inbound = rng.random(len(who)) < 0.25
    habit = block.consents.reachable()[who] * _SHARE
    channel, _ = _draw(rng, habit / habit.sum(axis=1, keepdims=True))
    channel = np.where(inbound, rng.choice(np.array([APP, CALL, BRANCH]), len(who)), channel)
    p_reached = response.p_reached(block.minds(month.number).take(who))[np.arange(len(who)), channel]
    decided, sent = _when(block, month, number, who)
    sent = np.where(inbound, decided, sent)
    opened = (rng.random(len(who)) < p_reached) & (sent > 0) & ~inbound
    nothing, no = np.full(len(who), np.nan), np.zeros(len(who), np.bool_)
    contacts = Contacts(
        who, np.full_like(who, -1), channel, inbound.astype(np.int64), np.ones_like(who),
        np.full_like(who, month.number), decided, sent, nothing, p_reached, nothing, nothing,
        block.annoyance[who], opened, no, no,
    )  # fmt: skip
    rows = log.add(contacts)
    written = (contacts.channel <= APP) & ~inbound & (sent > 0)
    log.note(rows[written], "delivered", sent[written] + 5 * SECOND_US)
    log.note(rows[written & opened], "opened", _later(rng, sent[written & opened], 0.2, 2.0))


def _money(block: Block) -> Floats:
    """The wealth the CRM sees: log of the yuan balance, centred, within -2.5 .. 2.5, (n,)."""
    return np.clip((np.log1p(np.maximum(block.total_minor(0), 0)) - 14.4) / 1.2, -2.5, 2.5)


def _offer_chances(block: Block, who: Ints, wealth: Floats) -> Floats:
    """P(offer | contacted), (len(who), offers): habit mixed with chance over possible offers."""
    has_currency = block.accounts.is_open[who][:, _CURRENCY]
    holds = block.accounts.holds_offer[who] | block.promised[who]
    possible = has_currency & ~(_ONCE & holds) & ~(_PERSONS_ONLY & block.people.is_firm[who][:, None])
    habit = np.exp(_HABIT + _LIKES_MONEY * wealth[who][:, None]) * possible
    habit /= habit.sum(axis=1, keepdims=True)
    even = possible / possible.sum(axis=1, keepdims=True)
    return (1 - EXPLORE_SHARE) * habit + EXPLORE_SHARE * even


def _draw(rng: np.random.Generator, chances: Floats) -> tuple[Ints, Floats]:
    """One column per row by its chances, and the chance it had."""
    total = np.cumsum(chances, axis=1)
    u = rng.random((len(chances), 1)) * total[:, -1:]
    column = np.minimum((total <= u).sum(axis=1), chances.shape[1] - 1)
    return column, chances[np.arange(len(chances)), column]


def _when(block: Block, month: Month, number: int, who: Ints) -> tuple[Ints, Ints]:
    rng = block.rng
    day = number * (month.days // ROUNDS) + rng.integers(0, 3, len(who))
    decided = month.moments(rng, day, block.people.shift_us[who], (9, 20))
    sent = decided + rng.integers(60, 3_000, len(who)) * SECOND_US
    return decided, np.where(rng.random(len(who)) < 0.01, 0, sent)


def _later(rng: np.random.Generator, at: Ints, mean_days: float, days_max: float) -> Ints:
    delay = np.minimum(rng.exponential(mean_days, len(at)), days_max)
    return at + 30 * SECOND_US + (delay * DAY_US).astype(np.int64)


def _follow(block: Block, log: ContactLog, contacts: Contacts, rows: Ints) -> None:
    """Write the outcomes of marketing contacts, and do what the customers said."""
    arrives = block.people.works[contacts.who, contacts.channel]
    _deliver(block, log, contacts, rows, arrives)
    answered = _listen(block, log, contacts, rows)
    _accept(block, log, contacts, rows, answered)
    _protest(block, log, contacts, rows)


def _deliver(block: Block, log: ContactLog, contacts: Contacts, rows: Ints, arrives: Flags) -> None:
    rng, sent = block.rng, contacts.sent
    written = (contacts.channel <= APP) & (sent > 0)
    log.note(rows[written & arrives], "delivered", sent[written & arrives] + 5 * SECOND_US)
    log.note(rows[written & ~arrives], "undelivered", sent[written & ~arrives] + 60 * SECOND_US)
    spoken = (contacts.channel > APP) & (sent > 0)
    wrong = spoken & ~arrives
    log.note(rows[wrong], "wrong_number", sent[wrong] + 60 * SECOND_US)
    silent = spoken & arrives & ~contacts.reached
    log.note(rows[silent], "no_response", sent[silent] + 90 * SECOND_US)
    # Half of what fails is written down, so the bank learns which addresses are dead.
    fails = np.flatnonzero((written | spoken) & ~arrives & (rng.random(len(rows)) < 0.5))
    block.consents.bounce(contacts.who[fails], contacts.channel[fails], sent[fails] + DAY_US // 2)


def _listen(block: Block, log: ContactLog, contacts: Contacts, rows: Ints) -> Ints:
    """Openings, clicks, refusals; back comes when each contact was answered, (n,)."""
    rng, reached = block.rng, contacts.reached
    written = contacts.channel <= APP
    heard = np.where(written, _later(rng, contacts.sent, 0.3, 2.5), contacts.sent + 120 * SECOND_US)
    opened = written & reached
    log.note(rows[opened], "opened", heard[opened])
    clicks = opened & (rng.random(len(rows)) < np.where(contacts.accepted, 0.85, 0.15))
    log.note(rows[clicks], "clicked", heard[clicks] + 45 * SECOND_US)
    declined = reached & ~contacts.accepted
    u = rng.random(len(rows))
    refuses = declined & (u < np.where(written, 0.06, 0.55))
    later = declined & ~refuses & (~written | (u > 0.97))
    log.note(rows[refuses], "refused", heard[refuses] + 180 * SECOND_US)
    log.note(rows[later], "later", heard[later] + 180 * SECOND_US)
    return heard


def _accept(block: Block, log: ContactLog, contacts: Contacts, rows: Ints, heard: Ints) -> None:
    yes = np.flatnonzero(contacts.accepted)
    slow = block.rng.random(len(yes)) < 0.3
    at = np.where(slow, _later(block.rng, heard[yes], 6.0, 24.0), heard[yes] + 600 * SECOND_US)
    log.note(rows[yes], "accepted", at)
    promise(block, contacts.who[yes], contacts.offer[yes], at + 600 * SECOND_US)


def _protest(block: Block, log: ContactLog, contacts: Contacts, rows: Ints) -> None:
    rng = block.rng
    harmed = np.flatnonzero(contacts.harmed)
    at = contacts.sent[harmed] + rng.integers(120, 36 * 3_600, len(harmed)) * SECOND_US
    complains = rng.random(len(harmed)) < 0.25
    angry = harmed[complains]
    log.note(rows[angry], "complained", at[complains])
    block.add_case(contacts.who[angry], COMPLAINT, at[complains],
                   at[complains] + rng.integers(3, 50, len(angry)) * DAY_US)  # fmt: skip
    leaves = harmed[~complains]
    called = contacts.channel[leaves] == CALL
    log.note(rows[leaves[called]], "do_not_call", at[~complains][called])
    log.note(rows[leaves[~called]], "opted_out", at[~complains][~called])
    everything = rng.random(len(leaves)) < 0.3
    block.consents.withdraw(contacts.who[leaves], contacts.channel[leaves], everything, at[~complains])
