"""What commands that do not exist yet will answer under --json: fixed now, so that callers can be written.

A command that comes takes its model along into its own module.
"""

from pydantic import BaseModel


class ExportAnswer(BaseModel):
    """`nbo audit export CUSTOMER --json`: the file with everything stored of one customer."""

    path: str
    rows: dict[str, int]  # table -> rows


class EraseAnswer(BaseModel):
    """`nbo audit erase CUSTOMER --json`: the key is shredded; rows keep their hashes, the seal stays whole."""

    erased: bool
    held: str | None  # legal hold that forbids it; null: none
    rows: dict[str, int]


class TableAnswer(BaseModel):
    """`nbo train table FILE --json`: quality on the held-out part. Null: does not apply (no treatment column)."""

    rows: int
    positives: int
    auc: float
    average_precision: float
    log_loss: float
    brier: float
    ece: float
    lift_10: float
    qini: float | None
    qini_low: float | None
    qini_high: float | None
    best_share: float | None
    alarms: list[str]


class BenchAnswer(BaseModel):
    """`nbo bench [NAME] --json`: every figure with the command and machine it was taken on."""

    name: str
    quick: bool
    figures: dict[str, float]
