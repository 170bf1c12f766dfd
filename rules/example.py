"""Example customers: what a prover found, held against the engine, made plain and put in words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from rules.column import meaning
from rules.language import Language, domain_of
from rules.prove import Facts, number_range
from rules.sentence import Tongue, fact_words
from rules.suppress import suppress
from rules.terms import Terms
from rules.tree import Scalar
from rules.types import CUSTOMERS

AT = datetime(2000, 1, 1, tzinfo=UTC)  # no rule reads an instant; its clock is among the columns
TEXTS = ("granted", "person")  # what most customers have, tried first


@dataclass(frozen=True)
class Example:
    """One customer and one cell. facts: the columns that decide it; about: those it is told for."""

    offer: str
    channel: str
    direction: str
    facts: Facts
    about: frozenset[str] = frozenset()

    def words(self, language: Language, tongue: Tongue) -> str:
        """The customer in words: the columns it is about in any case, of the rest what is not ordinary."""
        names = [*sorted(self.about & set(self.facts)), *sorted(set(self.facts) - self.about)]
        told = [fact_words(name, self.facts[name], language, tongue) for name in names
                if name in self.about or not _ordinary(self.facts[name])]  # fmt: skip
        said = ("; ", "；")[tongue == "zh"].join(told) or ("any customer", "任何客户")[tongue == "zh"]
        return f"{self.offer} x {self.channel}, {self.direction}: {said}"


def _ordinary(value: Scalar) -> bool:
    return value is False or value in TEXTS or (isinstance(value, float) and value in (0.0, 1.0))


def customer(terms: Terms, facts: Mapping[str, Scalar], direction: str) -> pa.RecordBatch:
    """One row of CUSTOMERS with the state columns of terms; what facts do not say is null."""
    fixed = {"customer_id": "-", "unit_id": "-", "as_of": AT, "local_day": None, "direction": direction,
             "channels": None, "send_after": AT, "send_before": AT}  # fmt: skip
    schema = pa.schema([*CUSTOMERS, *terms.state_schema])
    row = {
        field.name: fixed[field.name] if field.name in fixed else _typed(field, facts.get(field.name))
        for field in schema
    }
    return pa.RecordBatch.from_pylist([row], schema=schema)


def is_open(terms: Terms, facts: Mapping[str, Scalar], direction: str, cell: int) -> bool:
    """Whether the engine leaves the cell open for such a customer."""
    return bool(suppress(customer(terms, facts, direction), terms).open[0][cell])


def plainer(facts: Facts, types: pa.Schema, holds: Callable[[Facts], bool]) -> Facts:
    """The same example with everyday values wherever it still holds: no, 0, whole and round numbers."""
    now = dict(facts)
    for name in sorted(now):
        for value in _plain_values(types.field(name), now[name]):
            if value == now[name] and type(value) is type(now[name]):
                break
            if holds(now | {name: value}):
                now[name] = value
                break
    return now


def _plain_values(field: pa.Field, value: Scalar) -> list[Scalar]:
    if pa.types.is_boolean(field.type):
        return [False, True]
    if pa.types.is_string(field.type):
        domain = domain_of(pa.schema([field]), field.name)
        return [*(text for text in TEXTS if text in domain), *domain] or (["B01"] if isinstance(value, str) else [])
    if not isinstance(value, float):
        return [number for number in (0.0, 1.0) if inside(field, number)]
    rounded = [0.0, 1.0, *(float(f"{value:.{digits}g}") for digits in (1, 2, 3)), float(round(value))]
    money = [value - value % 100, value - value % 100 + 100] if meaning(field, "unit").endswith(" minor") else []
    return [number for number in (*rounded, *money) if inside(field, number)]


def inside(field: pa.Field, number: float) -> bool:
    """Whether a number is one the column declares to have."""
    found = number_range(field)
    if found is None:
        return True
    low, high, low_in, high_in = found
    return (low is None or number > low or (low_in and number == low)) and (
        high is None or number < high or (high_in and number == high)
    )


def _typed(field: pa.Field, value: Scalar) -> Scalar:
    return int(value) if isinstance(value, float) and pa.types.is_integer(field.type) else value
