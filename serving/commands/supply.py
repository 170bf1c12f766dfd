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


class SupplyError(ValueError):
    """There is no such family; one line."""


class SupplyAnswer(BaseModel):
    """`nbo models supply --json`: the file's sha256, null after --withdraw, and what was measured."""

    family: str
    sha256: str | None
    metrics: dict[str, float | None]


def supply(context: typer.Context, family: str, withdraw: Withdraw = False, as_json: AsJson = False) -> None:
    """Make HOME/scores/FAMILY.parquet (customer_id, score, as_of) live in place of the interest model."""
    home = Home.open(context.obj)
    offers = {offer.id: offer.family for offer in load_catalogue(home.catalogue).offers}
    if family not in offers.values():
        raise SupplyError(
            f"no family `{family}` in `{home.catalogue}`; there are: {', '.join(sorted(set(offers.values())))}"
        )
    if withdraw:
        withdraw_scores(home, family)
        answer = SupplyAnswer(family=family, sha256=None, metrics={})
    else:
        try:
            manifest = promote_scores(home, family, [offer for offer, of in offers.items() if of == family])
        except GateError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(1) from error
        answer = SupplyAnswer(family=family, sha256=manifest.dataset, metrics=manifest.metrics)
    said = (
        "the interest model scores it again" if withdraw else f"the bank's own scores, auc {answer.metrics.get('auc')}"
    )
    typer.echo(f"{family}: {said}", err=as_json)
    if as_json:
        typer.echo(answer.model_dump_json())
