"""The front door: the `nbo` command. Each room brings its own sub-commands; here they are mounted.

Exit 0: done. 1: a check said no. 2: bad usage or input, told in one line on stderr.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import BaseModel, ValidationError

from demo import demo
from features import commands as features
from features.home import Home, HomeError, Settings
from features.terminal import AsJson, tell
from rules import commands as rules_commands
from serving.commands import (
    audit,
    changes,
    decisionlog,
    identity,
    keys,
    lists,
    operate,
    pack,
    schedule,
    supply,
    triggers,
    users,
    worklist,
)
from serving.commands import report as report_commands
from serving.commands.consume import consume
from serving.commands.decide import decide
from serving.commands.serve import serve
from serving.example import equip
from serving.lists.volume import VolumeError
from serving.priority import lower_priority
from serving.spark.features import building_on_spark
from training import commands as training
from training import monitor_commands
from training.offpolicy_commands import offpolicy

REPOSITORY = Path(__file__).resolve().parent
DEFAULT_HOME = Path("bank")
BEHIND = ("import", "features", "train", "models", "plan", "schedule", "report")

app = typer.Typer(
    name="nbo",
    help="For each customer the one next offer and channel, or silence, and the proof why.",
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
)  # fmt: skip
HomePath = Annotated[Path, typer.Option("--home", envvar="NBO_HOME", help="The bank's folder.")]


class InitAnswer(BaseModel):
    """`nbo init --json`: the home, and the example files written; those that stood there are left alone."""

    home: str
    written: list[str]


@app.callback()
def front_door(context: typer.Context, home: HomePath = DEFAULT_HOME) -> None:
    """For each customer the one next offer and channel, or silence, and the proof why."""
    if context.obj is not None:  # none where the app is called from Python: that process is not ours to slow down
        context.obj(context.invoked_subcommand)
    context.obj = home


@app.command("init")
def init(directory: Path,
         currency: Annotated[str, typer.Option(help="Base currency, ISO 4217.")] = "CNY",
         zone: Annotated[str, typer.Option(help="IANA zone of the bank's days.")] = "Asia/Shanghai",
         as_json: AsJson = False) -> None:  # fmt: skip
    """Make a home: settings, secret, the example catalogue, policy and campaigns."""
    currencies = tuple(dict.fromkeys((currency, "CNY", "USD", "EUR", "JPY")))
    try:
        settings = Settings(currency=currency, currencies=currencies, zone=zone)
    except ValidationError as error:
        raise HomeError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    home = Home.create(directory, settings)
    answer = InitAnswer(home=str(home.path), written=[str(path) for path in equip(home, "retail")])
    text = "\n".join([f"home: {answer.home}", *answer.written])
    tell(answer, as_json, text)


@features.import_app.callback()
def importing(context: typer.Context) -> None:
    """Check and take over a bank's tables."""
    if context.invoked_subcommand == "template":  # writes no home
        return
    example = {"completejourney": "coupons", "berka": "cards"}.get(context.invoked_subcommand or "", "retail")

    def equip_fresh_home() -> None:
        # What stands in the home is left alone; an import that failed leaves no data and no example.
        if (Path(context.obj) / "data" / "feed.json").is_file():
            equip(Home.open(context.obj), example)

    context.call_on_close(equip_fresh_home)


features.ENGINES["spark"] = building_on_spark
app.add_typer(features.import_app, name="import")
app.add_typer(features.features_app, name="features")
app.add_typer(training.train_app, name="train")
training.models_app.command("offpolicy")(offpolicy)
training.models_app.command("monitor")(monitor_commands.watch)
training.models_app.command("challenge")(monitor_commands.put_challenger)
training.models_app.command("unchallenge")(monitor_commands.drop_challenger)
training.models_app.command("compare")(monitor_commands.compare_models)
training.models_app.command("supply")(supply.supply)
app.add_typer(training.models_app, name="models")
changes.mount(rules_commands.app)
app.add_typer(rules_commands.app, name="rules")
audit.app.command("log")(decisionlog.log)
audit.app.command("pack")(pack.pack)
app.add_typer(audit.app, name="audit", help="What was decided, and the proof.")
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="users")
app.add_typer(identity.app, name="identity")
app.add_typer(operate.switch_app, name="switch")
app.add_typer(operate.recall_app, name="recall")
app.add_typer(triggers.triggers_app, name="triggers")
app.add_typer(schedule.app, name="schedule")
app.add_typer(worklist.app, name="worklist")
app.add_typer(report_commands.app, name="report")
app.command("plan")(lists.plan)
app.command("decide")(decide)
app.command("serve")(serve)
app.command("consume")(consume)
app.command("demo")(demo)


def main() -> None:
    """Run the command; errors of usage and input are one line and exit code 2."""
    _own_packages()
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    try:
        code = app(standalone_mode=False, obj=give_way)
    except typer.TyperException as error:  # a command mistyped
        said = error.format_message().strip()
        if "\n" in said:  # no command at all: the help
            print(said, file=sys.stderr)
        else:
            what = f"{said[0].lower()}{said[1:].rstrip('.')}"
            _refuse(f"{what}; nbo --help and nbo COMMAND --help say what there is", error.exit_code)
        raise SystemExit(error.exit_code) from None
    except typer.Abort:
        _refuse("stopped from the keyboard", 130)
    except BrokenPipeError:  # whoever read us has gone: nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        _refuse(
            f"{(error.strerror or 'cannot be read').lower()}: `{error.filename or 'the disk'}`; mend it and repeat", 2
        )
    except VolumeError as error:  # a check said no
        _refuse(str(error), 1)
    except ValueError as error:  # every room's errors of input are ValueErrors with one line
        _refuse(str(error), 2)
    else:
        raise SystemExit(code if isinstance(code, int) else 0)


def give_way(command: str | None) -> None:
    """What computes for long lets a service on the same machine go first."""
    if command in BEHIND:
        lower_priority()


def _refuse(what: str, code: int) -> NoReturn:
    print(f"error: {' '.join(what.split())}", file=sys.stderr)
    raise SystemExit(code) from None


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
