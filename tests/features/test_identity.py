"""One person under two ids shares a unit; so do two who may be one."""

from pathlib import Path
from typing import Any

import pytest

from features import identity
from features.identity import units
from features.intake import import_tables
from features.source import Source
from features.tables import TABLES
from tests.feature_bank import small_home, write_tables

Link = tuple[str, str, float]


def found(tmp_path: Path, homes: dict[str, str | None], links: list[Link]) -> dict[str, str]:
    blank: dict[str, Any] = dict.fromkeys(c.name for c in TABLES["customers"].columns)
    people = [{**blank, "customer_id": c, "household_id": h, "kind": "person"} for c, h in homes.items()]
    named = [{"source_system": f"s{i}", "source_id": a, "customer_id": b, "confidence": p}
             for i, (a, b, p) in enumerate(links)]  # fmt: skip
    home = small_home(tmp_path / "home")
    booking = {**dict.fromkeys(c.name for c in TABLES["transactions"].columns), "transaction_id": "T",
               "customer_id": next(iter(homes)), "amount_minor": 1, "currency": "GBP", "kind": "fee",
               "booked_at": home.now(), "recorded_at": home.now()}  # fmt: skip
    tables = {"customers": people, "transactions": [booking]}
    if named:
        tables["identities"] = named
    import_tables(home, write_tables(tables, tmp_path / "source"))
    return dict(units(Source(home)).rows())


@pytest.mark.parametrize(("homes", "links", "expected"), [
    ({"A": None, "B": "H"}, [], {"A": "A", "B": "H"}),
    ({"A": None, "B": None}, [("B", "A", 1.0)], {"A": "A", "B": "A"}),
    ({"A": None, "B": None}, [("B", "A", 0.6)], {"A": "A", "B": "A"}),
    ({"A": None, "B": "H", "C": "H"}, [("A", "C", 0.9)], {"A": "H", "B": "H", "C": "H"}),
    ({"A": "H1", "B": "H2", "C": "H2"}, [("A", "B", 1.0)], {"A": "H1", "B": "H1", "C": "H1"}),
    ({"A": None, "B": None, "C": None}, [("B", "C", 1.0), ("A", "B", 0.5)], {"A": "A", "B": "A", "C": "A"}),
    ({"A": None, "B": None}, [("app-77", "A", 1.0)], {"A": "A", "B": "B"}),
    ({"A": None, "B": "A"}, [], {"A": "A", "B": "A"}),
])  # fmt: skip
def test_p13_ids_that_are_or_may_be_one_person_share_a_unit(tmp_path: Path, homes: dict[str, str | None], links: list[Link],
                                                            expected: dict[str, str]) -> None:  # fmt: skip
    assert found(tmp_path, homes, links) == expected


def test_p13_mutant_that_shares_only_what_is_certain_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = identity.links
    monkeypatch.setattr(identity, "links", lambda source: [link for link in whole(source) if link[2] == 1.0])
    assert found(tmp_path, {"A": None, "B": None}, [("B", "A", 0.6)]) != {"A": "A", "B": "A"}
