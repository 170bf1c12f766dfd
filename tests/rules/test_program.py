"""The compiled policy: each condition once, and the same cells whichever way they are written."""

import numpy as np

from rules.program import DIRECTIONS
from rules.terms import Audience
from tests import bank


def test_the_checks_for_many_close_what_the_steps_for_few_close() -> None:
    terms = bank.terms(
        audiences=(Audience("a", ("card_gold",), ("sms", "app"), "age_years > 30"),), paused=frozenset({"channel:call"})
    )
    program, cells = terms.program, np.arange(terms.catalogue.n_cells)
    for direction in DIRECTIONS:
        few = {(step.when, step.reason, step.unknown): step.cells for step in program.steps[direction]}
        many: dict[object, int] = {}
        for when, closings in program.checks:
            for closing in closings:
                if closing.direction in (None, direction):
                    places = cells if closing.where is None else cells[closing.where]
                    bits = sum(1 << int(cell) for cell in places)
                    key = (when, closing.reason, closing.unknown)
                    assert not many.get(key, 0) & bits  # no cell twice
                    many[key] = many.get(key, 0) | bits
        assert many == few
    conditions = [when for when, _ in program.checks]
    assert len(conditions) == len(set(conditions))


def test_any_set_of_cells_is_an_index() -> None:
    program = bank.terms().program
    rng = np.random.default_rng(1)
    sets = [1, 1 << 49, program.full, *program.channel_cells, *(int(rng.integers(1, 1 << 50)) for _ in range(200))]
    for bits in sets:
        where = program.where(bits)
        found = np.arange(program.n_cells) if where is None else np.arange(program.n_cells)[where]
        assert found.tolist() == [cell for cell in range(program.n_cells) if bits >> cell & 1]
    assert sum(program.channel_cells) == program.full
