"""A whole small home, of one's own for each test, and the office over it on a clock the test moves."""

from collections.abc import Generator
from pathlib import Path

import pytest

from serving.office import Office
from tests.home import Clock, copied, office_at
from tests.postgres import database


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A copy of the small home."""
    return copied(tmp_path / "bank")


@pytest.fixture
def clock() -> Clock:
    """10:00 in Shanghai, two hours after the snapshot."""
    return Clock()


@pytest.fixture
def office(bank: Path, clock: Clock) -> Generator[Office]:
    """The office of that home."""
    opened = office_at(bank, clock)
    yield opened
    opened.close()


@pytest.fixture
def server() -> Generator[str]:
    """URL of an empty PostgreSQL database of one's own."""
    with database() as url:
        yield url
