from datetime import UTC, datetime

import numpy as np

from simulation.block import begin_block
from simulation.months import months_between
from simulation.takeup import take_up_organically
from simulation.world import N_OFFERS


def test_whoever_listened_to_a_contact_does_not_take_the_offer_unasked_as_well() -> None:
    """Else the effect of a contact would not be p_reached (p_accept - p_organic)."""
    months = months_between(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    block = begin_block(np.random.default_rng(5), 0, 2_000, months, 0)
    block.listened[:, 0] = True
    block.listened[:1_000] = True
    take_up_organically(block, months[0], np.ones(2_000, dtype=np.bool_))
    who, offer, _ = block.take_ups[0]
    assert who.min() >= 1_000
    assert set(offer.tolist()) >= set(range(1, N_OFFERS - 1))
    assert 0 not in offer
