"""Members of a unit who close each other are one chooser; everybody else is his own."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from rules.suppress import suppress
from serving.lists.batch import chunks, read_inputs
from serving.lists.choosers import choosers_of
from tests.home import Clock, office_at


def test_p11_members_whom_any_contact_of_the_other_closes_compete_as_one(bank: Path, clock: Clock) -> None:
    office = office_at(bank, clock)
    inputs = read_inputs(office.engine, office.ledger, clock.now, ("all_year",))
    [customers] = list(chunks(inputs))
    found = suppress(customers, inputs.terms)
    chooser, open_ = choosers_of(customers, found, inputs.terms), found.decisive < 0
    units = np.asarray(customers.column("unit_id").dictionary_encode().indices)
    several = np.bincount(units[open_], minlength=len(units))[units] > 1
    # The shipped policy allows a household one contact a day: all its open members are one chooser.
    for unit in np.unique(units[open_ & several]):
        assert len(set(chooser[open_ & (units == unit)].tolist())) == 1
    alone = ~(open_ & several)
    assert (chooser[alone] == np.flatnonzero(alone)).all() and (open_ & several).sum() > 20
    office.close()


def test_p11_without_a_cap_of_the_unit_each_is_his_own_chooser(bank: Path, clock: Clock) -> None:
    office = office_at(bank, clock)
    inputs = read_inputs(office.engine, office.ledger, clock.now, ("all_year",))
    [customers] = list(chunks(inputs))
    found = suppress(customers, inputs.terms)
    counts = {c.name for c in inputs.terms.policy.counts(inputs.terms.catalogue) if c.unit}
    far = customers
    for name in counts & set(customers.schema.names):
        place = far.schema.get_field_index(name)
        far = far.set_column(
            place, far.schema.field(place), pa.array(np.full(len(far), -9.0))
        )  # one more changes nothing
    assert (choosers_of(far, found, inputs.terms) == np.arange(len(far))).all()
    office.close()
