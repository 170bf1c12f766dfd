"""What failed rests for a while, and nothing else does."""

import pytest

from serving.commands import schedule as room
from serving.commands.schedule import Retries
from serving.standing import Run
from tests.home import NOW


def test_what_failed_rests_twice_as_long_each_time_up_to_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now, retries = [0.0], Retries()
    monkeypatch.setattr(room.time, "monotonic", lambda: now[0])
    one, other = Run(NOW, NOW, ("a",)), Run(NOW, NOW, ("b",))
    assert retries.resting() == set()
    for rest in (40, 80, 160, 320, 640, 900, 900):
        retries.failed(one)
        now[0] += rest - 1
        assert retries.resting() == {one}
        now[0] += 1
        assert retries.resting() == set()
    retries.failed(other)
    retries.failed()
    assert retries.resting() == {other, None}
    retries.ended()
    assert retries.resting() == {other}
    retries.failed()
    now[0] += 40
    assert retries.resting() == set()  # and no longer: what was before is forgotten
