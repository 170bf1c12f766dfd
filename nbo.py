"""The front door: the `nbo` command. Each room brings its own sub-commands; here they are mounted.

Exit 0: done. 1: a check said no. 2: bad usage or input, told in one line on stderr.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from demo import demo
from features import commands as features
from features.home import Home, Settings
from serving.commands import audit, keys, lists
from serving.commands.serve import serve
from serving.example import equip
from training import commands as training

REPOSITORY = Path(__file__).resolve().parent
DEFAULT_HOME = Path("bank")

app = typer.Typer(
    name="nbo",
    help="For each customer the one next offer and channel, or silence, and the proof why.",
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
)  # fmt: skip
HomePath = Annotated[Path, typer.Option("--home", envvar="NBO_HOME", help="The bank's folder.")]


@app.callback()
def front_door(context: typer.Context, home: HomePath = DEFAULT_HOME) -> None:
    """For each customer the one next offer and channel, or silence, and the proof why."""
    context.obj = home


@app.command("init")
def init(directory: Path,
         currency: Annotated[str, typer.Option(help="Base currency, ISO 4217.")] = "CNY",
         zone: Annotated[str, typer.Option(help="IANA zone of the bank's days.")] = "Asia/Shanghai") -> None:  # fmt: skip
    """Make a home: settings, secret, the example catalogue, policy and campaigns."""
    currencies = tuple(dict.fromkeys((currency, "CNY", "USD", "EUR", "JPY")))
    home = Home.create(directory, Settings(currency=currency, currencies=currencies, zone=zone))
    for path in equip(home, "retail"):
        print(path)


@features.import_app.callback()
def importing(context: typer.Context) -> None:
    """Check and take over a bank's tables."""
    example = "coupons" if context.invoked_subcommand == "completejourney" else "retail"

    def equip_fresh_home() -> None:
        # What stands in the home is left alone; an import that failed leaves no data and no example.
        if (Path(context.obj) / "data" / "feed.json").is_file():
            equip(Home.open(context.obj), example)

    context.call_on_close(equip_fresh_home)


app.add_typer(features.import_app, name="import")
app.add_typer(features.features_app, name="features")
app.add_typer(training.train_app, name="train")
app.add_typer(training.models_app, name="models")
app.add_typer(audit.app, name="audit", help="What was decided, and the proof.")
app.add_typer(keys.app, name="keys")
app.command("plan")(lists.plan)
app.command("decide")(lists.decide)
app.command("serve")(serve)
app.command("demo")(demo)


def main() -> None:
    """Run the command; errors of usage and input are one line and exit code 2."""
    _own_packages()
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    try:
        app(standalone_mode=True)
    except ValueError as error:  # every room's errors of input are ValueErrors with one line
        line = " ".join(str(error).split())
        print(f"error: {line}", file=sys.stderr)
        raise SystemExit(2) from None


def _own_packages() -> None:
    """The rooms have plain names: refuse to run with somebody else's `rules` on the path."""
    for name in ("rules", "features", "training", "serving"):
        found = Path(__import__(name).__file__ or "").resolve().parent.parent
        if found != REPOSITORY:
            print(
                f"error: package `{name}` comes from another project; run nbo in its own environment", file=sys.stderr
            )
            raise SystemExit(2)


if __name__ == "__main__":
    main()
