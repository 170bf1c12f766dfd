import numpy as np
import pytest

from training.encode import Feature
from training.leaks import column_alarms, known_after_contact, too_good

RNG = np.random.default_rng(1)
LABEL = (RNG.random(2000) < 0.2).astype(float)


def alarms(x: np.ndarray, kind: str = "number", domain: tuple[str, ...] = ()) -> list[str]:
    feature = Feature(name="x", kind=kind, domain=domain)
    return [alarm.kind for alarm in column_alarms([feature], x[:, None], LABEL)]


def test_a_column_that_knows_the_answer_rings_whichever_way_it_is_coded() -> None:
    """Mutant: max(area, 1 - area) without the turn misses the second; nulls as the mean the third."""
    assert alarms(LABEL + RNG.normal(0, 0.05, 2000)) == ["leak"]
    assert alarms(-LABEL) == ["leak"]
    assert alarms(np.where(LABEL == 1, RNG.random(2000), np.nan)) == ["leak"]
    assert alarms(np.where(LABEL == 0, RNG.random(2000), np.nan)) == ["leak"]
    assert alarms(np.where(LABEL == 1, 1, RNG.choice([0, 2], 2000)), "enum", ("a", "b", "c")) == ["leak"]


def test_a_strong_honest_column_and_a_key_do_not_ring() -> None:
    assert alarms(LABEL + RNG.normal(0, 0.6, 2000)) == []
    assert alarms(RNG.random(2000)) == []
    assert alarms(np.arange(2000.0), "enum", tuple(map(str, range(2000)))) == []  # each code once knows nothing


@pytest.mark.parametrize("name", ["duration", "Duration", "call_duration", "callDuration", "talk-time", "DURATION_SEC"])
def test_what_is_known_only_after_the_contact_is_warned_of(name: str) -> None:
    assert known_after_contact(name)
    found = column_alarms([Feature(name=name, kind="number")], RNG.random((2000, 1)), LABEL)
    assert [(alarm.kind, alarm.column) for alarm in found] == [("after_contact", name)]
    assert f"--drop {name}" in found[0].message


@pytest.mark.parametrize("name", ["poutcome", "previous_outcome", "age", "response_rate_90d", "tenure_days"])
def test_history_is_not_warned_of(name: str) -> None:
    assert not known_after_contact(name)


def test_a_model_too_good_to_be_true_rings_and_names_its_columns() -> None:
    (alarm,) = too_good(0.9998, ["po_uver_count", "age"])
    assert alarm.kind == "too_good" and alarm.column == "po_uver_count" and "`po_uver_count`, `age`" in alarm.message
    assert too_good(0.98, ["x"]) == [] and too_good(None, []) == []
