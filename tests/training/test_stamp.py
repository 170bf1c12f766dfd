"""The stamp of what is live: every way to make something else live changes it, nothing else does."""

from pathlib import Path

import pytest

from training.atomic import write_atomically
from training.stamp import live_stamp

SAYS = ("live.json", "challengers.json", "supplied.json", "tiers/aa.now")


@pytest.mark.parametrize("name", SAYS)
def test_whatever_says_what_is_live_moves_the_stamp_and_moves_it_back(tmp_path: Path, name: str) -> None:
    first = live_stamp(tmp_path)
    write_atomically(tmp_path / name, b"one")
    one = live_stamp(tmp_path)
    write_atomically(tmp_path / name, b"two")
    two = live_stamp(tmp_path)
    write_atomically(tmp_path / name, b"one")
    assert len({first, one, two}) == 3 and live_stamp(tmp_path) == one
    (tmp_path / name).unlink()
    assert live_stamp(tmp_path) == first


def test_a_text_in_another_file_is_another_stamp(tmp_path: Path) -> None:
    told = set()
    for name in SAYS:
        write_atomically(tmp_path / name, b"{}")
        told.add(live_stamp(tmp_path))
        (tmp_path / name).unlink()
    assert len(told) == len(SAYS)


def test_bundles_and_former_tiers_do_not_move_it(tmp_path: Path) -> None:
    first = live_stamp(tmp_path)
    for name in ("ab/manifest.json", "history.json", ".lock", "tiers/aa.arrow"):
        write_atomically(tmp_path / name, b"{}")
    assert live_stamp(tmp_path) == first
