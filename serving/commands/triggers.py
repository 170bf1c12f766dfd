"""`nbo triggers run | show`: contacts that an occasion causes, through the same gate as every other."""

import typer
from pydantic import BaseModel

from features.home import Home
from features.terminal import AsJson, tell
from serving.causing import run_maturities
from serving.history import ensure_seeded
from serving.office import open_engine, open_ledger

triggers_app = typer.Typer(
    help="Occasions that cause a contact: salary in, large inflow, maturity near.", no_args_is_help=True
)


class RunAnswer(BaseModel):
    """`nbo triggers run --json`: trigger -> decisions it caused now; offers and silence alike, each recorded.

    problems: why the others wait for the next run, one line each; empty: nobody does.
    """

    decided: dict[str, int]
    problems: tuple[str, ...] = ()


class ShowAnswer(BaseModel):
    """`nbo triggers show --json`: trigger -> what it says, in English."""

    triggers: dict[str, str]


@triggers_app.command("run")
def run(context: typer.Context, as_json: AsJson = False) -> None:
    """Decide for everybody with a maturity near, once for each; run it each morning.

    Where models or data lack, or everything is paused, nothing is decided and all wait: it says so and ends with 1.
    """
    home = Home.open(context.obj)
    engine = open_engine(home)
    with open_ledger(home) as ledger:
        ensure_seeded(home, ledger, engine)
        made, problems = run_maturities(engine, ledger)
    answer = RunAnswer(decided=made, problems=problems)
    text = "\n".join(f"{name}: {n} decided" for name, n in answer.decided.items()) or "no trigger looks at maturities"
    tell(answer, as_json, text)
    for line in problems:
        typer.echo(f"occasions wait: {line}", err=True)
    if problems:
        raise typer.Exit(1)


@triggers_app.command("show")
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """Read out HOME/triggers.yaml."""
    found = open_engine(Home.open(context.obj)).triggers
    answer = ShowAnswer(triggers={trigger.id: trigger.title.en for trigger in found})
    text = (
        "\n".join(f"{name}: {said}" for name, said in answer.triggers.items()) or "no triggers.yaml: nothing is caused"
    )
    tell(answer, as_json, text)
