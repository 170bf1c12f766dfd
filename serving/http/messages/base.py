"""What every request and answer is made of: strict models, ids, instants, money, texts.

Requests come from outside: nothing is coerced, nothing unknown is let through, no NaN, no instant
without a zone. Answers are built by us from the same types, so that OpenAPI tells the truth.
"""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from rules.reasons import ReasonCode

FIRST_INSTANT = datetime(1990, 1, 1, tzinfo=UTC)
LAST_INSTANT = datetime(2100, 1, 1, tzinfo=UTC)
MONEY_MINOR_MAX = 10**15


def _printable(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("should be printable, without control characters or outer spaces")
    return value


def _written_as_instant(value: object) -> object:
    # pydantic would take 5, and the text "5", as five seconds after 1970.
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        return value
    raise ValueError("should be an ISO 8601 instant such as 2026-06-01T09:30:00Z")


def _as_utc(value: datetime) -> datetime:
    if not FIRST_INSTANT <= value < LAST_INSTANT:
        raise ValueError("should lie between 1990-01-01 and 2100-01-01")
    return value.astimezone(UTC)


Id = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
Note = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Instant = Annotated[
    AwareDatetime,
    Field(strict=False),  # behind a validator of ours even JSON counts as Python, without instants
    BeforeValidator(_written_as_instant),
    AfterValidator(_as_utc),
]
Money = Annotated[int, Field(ge=-MONEY_MINOR_MAX, le=MONEY_MINOR_MAX)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Probability = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Cursor = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]


def _is_reason(value: str) -> str:
    ReasonCode.of(value)
    return value


Reason = Annotated[
    str,
    AfterValidator(_is_reason),
    Field(json_schema_extra={"enum": [code.slug for code in ReasonCode]}),
]


class Message(BaseModel):
    """The base of every request and answer: frozen, strict, no unknown fields, no NaN."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Words(Message):
    """One sentence in the two languages of the house."""

    en: str
    """English."""
    zh: str
    """Chinese."""
