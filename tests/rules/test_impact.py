"""The impact of a change on a snapshot, against the oracle row by row; and that it writes nothing."""

from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rules.catalogue import Catalogue
from rules.errors import SchemaError
from rules.impact import Impact, Rows, impact, read_batches
from rules.language import Language
from rules.suppress import suppress
from rules.terms import Terms
from rules.tree import columns_of
from rules.types import CUSTOMERS, scores_schema
from tests import bank, oracle
from tests.rules.test_proofs import without

DAY = date(2026, 6, 1)
N = 150


def changed() -> Terms:
    """Staff may be sold to, credit needs grade 5, the gold card is gone, a black one is new."""
    policy = without("staff")
    rules = tuple(
        r.model_copy(update={"when": "credit_grade > 5"}) if r.id == "credit_grade" else r for r in policy.rules
    )
    kept = tuple(
        r.model_copy(update={"scope": r.scope.model_copy(update={"offers": ("card_black",)})})
        if "card_gold" in r.scope.offers
        else r
        for r in rules
    )
    catalogue = bank.catalogue()
    offers = [o.model_dump() | ({"id": "card_black"} if o.id == "card_gold" else {}) for o in catalogue.offers]
    worded = [
        t.model_dump() | ({"offer": "card_black"} if t.offer == "card_gold" else {}) for t in catalogue.treatments
    ]
    renamed = Catalogue.model_validate(catalogue.model_dump() | {"offers": offers, "treatments": worded})
    return bank.terms(day=DAY, policy=policy.model_copy(update={"rules": kept}), catalogue=renamed)


def snapshot(*sides: Terms) -> tuple[list[dict[str, Any]], pa.RecordBatch]:
    fields = {f.name: f for side in sides for f in (*CUSTOMERS, *side.state_schema)}
    rows = [dict.fromkeys(fields) | bank.welcome(sides[-1]) | row for row in bank.population(sides[0], N, 5, 0.005)]
    for place, row in enumerate(rows):
        row["staff"] = place % 5 == 0
        row["credit_grade"] = float(place % 9)
    schema = pa.schema(list(fields.values()))
    return rows, pa.RecordBatch.from_pylist([{name: row[name] for name in fields} for row in rows], schema=schema)


def closers(row: dict[str, Any], terms: Terms, cell: int) -> set[str]:
    """Ids of the parts that close the cell, by the oracle's reading."""
    language = Language(terms.vocabulary, terms.catalogue)
    found = set()
    for rule in terms.policy.lowered(terms.catalogue, terms.day):
        if rule.scope.direction in ("any", row["direction"]) and rule.scope.cells(terms.catalogue) >> cell & 1 \
                and oracle.evaluate(language.parse(rule.when), row, language.cells[cell]) is not False:  # fmt: skip
            found.add(rule.id)
    return found


def by_hand(
    rows: list[dict[str, Any]], before: Terms, after: Terms
) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Part -> rows, once for each cell gained (lost)."""
    gained, lost = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
    for place, row in enumerate(rows):
        for one, other, told in ((after, before, gained), (before, after, lost)):
            for cell in range(one.catalogue.n_cells):
                offer, channel = divmod(cell, len(one.catalogue.channels))
                if oracle.closing(row, cell, one):
                    continue
                name = one.catalogue.offers[offer].id
                if name not in other.catalogue.offer_index:
                    told["catalogue"].append(place)
                    continue
                there = other.catalogue.cell(name, one.catalogue.channels[channel].id)
                if oracle.closing(row, there, other):
                    for part in closers(row, other, there):
                        told[part].append(place)
    return gained, lost


def test_each_parts_cells_and_customers_are_those_of_the_oracle() -> None:
    """Killed: cells numbered by the other catalogue, a customer counted once a cell, inbound forgotten."""
    before, after = bank.terms(day=DAY), changed()
    rows, batch = snapshot(before, after)
    found = impact(before, after, [Rows(batch.slice(0, 100)), Rows(batch.slice(100))])
    gained, lost = by_hand(rows, before, after)
    assert found.customers == N
    assert {"staff", "credit_grade", "catalogue"} <= set(found.parts)
    assert set(found.parts) == set(gained) | set(lost)
    for part, told in found.parts.items():
        assert told == Impact(len(set(gained[part])), len(set(lost[part])), len(gained[part]), len(lost[part])), part
    assert (found.total.cells_gained, found.total.cells_lost) >= (len(gained["catalogue"]), len(lost["catalogue"]))


def test_values_are_those_of_the_best_open_cell() -> None:
    before, after = bank.terms(day=DAY), bank.terms(day=DAY, policy=without("staff"))
    _, batch = snapshot(before, after)
    told = bank.scores(before, N, 3)
    found = impact(before, after, [Rows(batch, bank.scores_batch(before, told))])
    total, opened = 0, 0
    was, now = (suppress(batch, side).open for side in (before, after))
    for place in range(N):
        best = [0, 0]
        for side, cells in enumerate((was, now)):
            worths = [
                w[0] for cell in range(50) if cells[place][cell] and (w := oracle.value(cell, before, told[place]))
            ]
            best[side] = max([0, *worths])
        total += best[1] - best[0]
        opened += bool(now[place].any() and not was[place].any())
    assert total > 0
    assert (found.total.value_gained_minor, found.total.value_lost_minor) == (total, 0)
    assert found.parts["staff"].value_gained_minor == total
    assert (found.opened, found.silenced) == (opened, 0)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_snapshot_file_is_read_in_batches_and_left_alone(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rules.impact.ROWS", 64)
    before, after = bank.terms(day=DAY), bank.terms(day=DAY, policy=without("staff"))
    rows, batch = snapshot(before, after)
    scores = bank.scores_batch(before, bank.scores(before, len(rows), 3))
    paths = tmp_path / f"customers.{kind}", tmp_path / f"scores.{kind}"
    for path, content in zip(paths, (batch.drop_columns(["unit_id", "channels"]), scores), strict=True):
        table = pa.Table.from_batches([content])
        if kind == "parquet":
            pq.write_table(table, path)
        else:
            with pa.ipc.new_file(path, table.schema) as file:
                file.write_table(table)
    content = [path.read_bytes() for path in paths]
    batches = list(read_batches(*paths, before, after))
    assert [rows.customers.num_rows for rows in batches] == [64, 64, N - 128]
    assert (
        pa.Table.from_batches([rows.scores for rows in batches if rows.scores])
        .to_batches()[0]
        .schema.equals(scores_schema(10, 5))
    )
    assert impact(before, after, batches).parts["staff"].cells_gained > 0
    assert [path.read_bytes() for path in paths] == content
    assert len(list(tmp_path.iterdir())) == 2


def test_bad_snapshots_are_refused_in_one_line(tmp_path: Path) -> None:
    terms = bank.terms(day=DAY)
    _, batch = snapshot(terms, terms)
    table = pa.Table.from_batches([batch])
    for name, content in (("ok", table), ("short", table.drop_columns(["staff"])), ("half", table.slice(0, 9))):
        pq.write_table(content, tmp_path / f"{name}.parquet")
    pq.write_table(
        table.set_column(table.schema.get_field_index("staff"), "staff", pa.array(["x"] * N)),
        tmp_path / "wrong.parquet",
    )
    pq.write_table(
        pa.Table.from_batches([bank.scores_batch(terms, bank.scores(terms, 5, 1))]), tmp_path / "scores.parquet"
    )
    (tmp_path / "noise.arrow").write_bytes(b"noise")
    for name, scores, line in (("short.parquet", None, "has no column `staff`"), ("wrong.parquet", None, "does not have the types"),
                               ("noise.arrow", None, "is no Parquet or Arrow file"), ("ok.parquet", "scores.parquet", "one row for each")):  # fmt: skip
        with pytest.raises(SchemaError, match=line) as refused:
            list(read_batches(tmp_path / name, tmp_path / scores if scores else None, terms, terms))
        assert "\n" not in str(refused.value)


def test_no_rule_reads_an_identity() -> None:
    """What stands in for a customer's name in an example changes nothing."""
    terms = bank.terms(day=DAY)
    assert not {name for d in terms.program.steps.values() for s in d for name in columns_of(s.when)} & {
        "customer_id",
        "unit_id",
    }
