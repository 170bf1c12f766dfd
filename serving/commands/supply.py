"""`nbo models supply FAMILY`: the bank's own scores of an offer family, through the models' gate."""

import sys
from typing import Annotated

import typer
from pydantic import BaseModel

from features.home import Home
from features.terminal import AsJson
from rules.catalogue import load_catalogue
from training.errors import GateError
from training.supply import promote_scores, withdraw_scores

Withdraw = Annotated[bool, typer.Option("--withdraw", help="Give the family back to the interest model.")]
Measure = Annotated[bool, typer.Option("--measure", help="Only measure a table, of any age, to speak for later ones.")]


class SupplyError(ValueError):
    """There is no such family; one line."""


class SupplyAnswer(BaseModel):
    """`nbo models supply --json`: the file's sha256, null after --withdraw, and what was measured, on which scores."""

    family: str
    sha256: str | None
    live: bool
    note: str
    metrics: dict[str, float | None]


def supply(context: typer.Context, family: str, withdraw: Withdraw = False, measure: Measure = False,
           as_json: AsJson = False) -> None:  # fmt: skip
    """Make HOME/scores/FAMILY.parquet (customer_id, score, as_of) live in place of the interest model."""
    home = Home.open(context.obj)
    offers = {offer.id: offer.family for offer in load_catalogue(home.catalogue).offers}
    if family not in offers.values():
        raise SupplyError(
            f"no family `{family}` in `{home.catalogue}`; there are: {', '.join(sorted(set(offers.values())))}"
        )
    if withdraw:
        withdraw_scores(home, family)
        answer = SupplyAnswer(family=family, sha256=None, live=False, note="", metrics={})
    else:
        try:
            mine = [offer for offer, of in offers.items() if of == family]
            manifest = promote_scores(home, family, mine, live=not measure)
        except GateError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(1) from error
        note = manifest.parts[family].note
        answer = SupplyAnswer(
            family=family, sha256=manifest.dataset, live=not measure, note=note, metrics=manifest.metrics
        )
    what = "the bank's own scores are live" if answer.live else "nothing goes live; the table passed"
    said = (
        "the interest model scores it again" if withdraw else f"{what}: {answer.note}, auc {answer.metrics.get('auc')}"
    )
    typer.echo(f"{family}: {said}", err=as_json)
    if as_json:
        typer.echo(answer.model_dump_json())
