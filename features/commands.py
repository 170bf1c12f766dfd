"""`nbo features ...`: thin sub-commands over the store."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import sqlalchemy
import typer
from pydantic import BaseModel

from features.build import Builder
from features.drift import draw, drift
from features.home import Home
from features.import_commands import ImportAnswer, import_app
from features.parity import SAMPLE, parity
from features.settings import Engines, horizon_days
from features.source import Source
from features.store import Building, FeatureStore, StoreError
from features.terminal import AsJson, bar, home_of, tell

__all__ = ["ImportAnswer", "features_app", "import_app", "parse_instant"]

features_app = typer.Typer(name="features", help="Features of the customers.", no_args_is_help=True)


class BuildAnswer(BaseModel):
    """`nbo features build --json`: the snapshot's file, instant, size, and hashes.

    `repaired`: older snapshots that an import had changed and that were built again.
    """

    path: str
    as_of: datetime
    customers: int
    features: int
    sha256: str
    view_revision: str
    repaired: list[str] = []


class FeatureAnswer(BaseModel):
    """One feature as declared: name, kind (bool, number, text), unit, domain, meanings."""

    name: str
    kind: str
    unit: str
    domain: str
    null: str
    source: str
    en: str
    zh: str


class CatalogueAnswer(BaseModel):
    """`nbo features describe --json`: every feature of this home and the hash of them all."""

    view_revision: str
    features: list[FeatureAnswer]


class LatestAnswer(BaseModel):
    """`nbo features latest --json`: one customer's features at an instant, and their base's."""

    customer_id: str
    as_of: datetime
    base_as_of: datetime
    features: dict[str, bool | float | str | None]
    assumptions: list[str]


@features_app.command("build")
def build(
    context: typer.Context,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Instant with zone, or a day.")] = None,
    engine: Annotated[Engines | None, typer.Option(help="Where it is computed; default: the home's bank.yaml.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the snapshot of every customer as of an instant (the home's present by default)."""
    home = Home.open(home_of(context))
    store = FeatureStore(home)
    at = parse_instant(as_of, home) if as_of else home.now()
    with bar(as_json) as progress:
        repaired = [path.name for path in store.repair(progress)]
        with ENGINES[engine or home.settings.engine]() as building:
            store.build(at, progress, building)
    snapshot = store.newest(at)
    assert snapshot is not None, "a snapshot was just written"
    answer = BuildAnswer(
        path=str(snapshot.path), as_of=snapshot.as_of, customers=snapshot.table.num_rows,
        features=len(store.declared), sha256=snapshot.sha256, view_revision=store.revision, repaired=repaired,
    )  # fmt: skip
    lines = [f"{answer.path}: {answer.customers} customers, {answer.features} features"]
    tell(answer, as_json, "\n".join([*(f"{name}: built again, its days had changed" for name in repaired), *lines]))


@features_app.command("describe")
def describe(
    context: typer.Context,
    form: Annotated[str, typer.Option("--format", help="md or json.")] = "md",
    as_json: AsJson = False,
) -> None:
    """Print the catalogue of features: meaning, unit, source table, what null means."""
    if form not in ("md", "json"):
        raise StoreError(f"--format `{form}` is unknown; choose md or json")
    store = FeatureStore(Home.open(home_of(context)))
    told = [FeatureAnswer(**vars(feature)) for feature in store.declared]
    answer = CatalogueAnswer(view_revision=store.revision, features=told)
    tell(answer, as_json or form == "json", _markdown(told))


@features_app.command("latest")
def latest(
    context: typer.Context,
    customer: str,
    at: Annotated[str | None, typer.Option("--at", help="Instant with zone, or a day.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print one customer's features now: the newest snapshot and what the ledger heard since."""
    home = Home.open(home_of(context))
    store = FeatureStore(home)
    moment = parse_instant(at, home) if at else home.now()
    base, days = store.newest(moment), horizon_days(home.settings)
    if base is not None and moment - base.as_of > timedelta(days=days):
        told = f"the newest snapshot is of {base.as_of:%FT%TZ}; its windows can be rolled for {days} days"
        raise StoreError(f"{told}: nbo features build, or choose an earlier --at")
    with _ledger(home) as connection:
        rows = store.latest([customer], moment, connection)
    if not rows.num_rows:
        raise StoreError("that customer is not in the newest snapshot; check the id or build again")
    values = rows.to_pylist()[0]
    assert base is not None, "latest has read it"
    answer = LatestAnswer(
        customer_id=customer, as_of=moment, base_as_of=base.as_of, assumptions=home.assumptions(),
        features={feature.name: values[feature.name] for feature in store.declared},
    )  # fmt: skip
    width = max(len(name) for name in answer.features)
    tell(answer, as_json, "\n".join(f"{n:<{width}}  {v}" for n, v in answer.features.items()))


@features_app.command("parity")
def check_parity(
    context: typer.Context,
    at: Annotated[str | None, typer.Option("--at", help="Instant with zone, or a day.")] = None,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Customers at most.")] = SAMPLE,
    as_json: AsJson = False,
) -> None:
    """Compare what decisions read with what models learn from; exit 1 unless nothing differs."""
    home = Home.open(home_of(context))
    moment = parse_instant(at, home) if at else home.now()
    answer = parity(FeatureStore(home), Source(home), moment, sample)
    tell(answer, as_json, "\n".join(answer.lines))
    if answer.differences:
        raise typer.Exit(1)


@features_app.command("drift")
def show_drift(
    context: typer.Context,
    before: Annotated[str, typer.Argument(help="Instant or day of the older snapshot.")],
    after: Annotated[str, typer.Argument(help="Instant or day of the newer one.")],
    svg: Annotated[Path | None, typer.Option("--svg", help="Also draw it into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how each feature's distribution moved between two snapshots."""
    home = Home.open(home_of(context))
    store = FeatureStore(home)
    found = [store.newest(parse_instant(text, home)) for text in (before, after)]
    if found[0] is None or found[1] is None:
        raise StoreError(
            f"`{home.features}` holds no snapshot at or before one of the two; nbo features build --as-of T"
        )
    if found[0].path == found[1].path:
        raise StoreError(
            f"`{before}` and `{after}` both mean the snapshot of {found[0].as_of:%FT%TZ};"
            " build the other one: nbo features build --as-of T"
        )
    answer = drift(found[0], found[1])
    if svg:
        draw(answer, svg)
        answer = answer.model_copy(update={"picture": str(svg)})
    tell(answer, as_json, "\n".join(answer.lines))


@contextmanager
def _here() -> Generator[Building]:
    yield Builder


# Where snapshots are computed; the front door adds Spark, of which this room knows nothing.
ENGINES: dict[str, Callable[[], AbstractContextManager[Building]]] = {"polars": _here}


def parse_instant(text: str, home: Home) -> datetime:
    """The instant a person wrote: ISO with zone, or a day, meaning its midnight in the bank's zone.

    Raises:
        StoreError: It is neither.
    """
    try:
        if len(text) == len("2026-06-01"):
            instant = datetime.combine(date.fromisoformat(text), time(), home.settings.tz)
        else:
            instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise StoreError(f"`{text}` is no instant; write 2026-06-01T00:00:00Z or 2026-06-01") from error
    raise StoreError(f"`{text}` has no time zone; end it with Z")


@contextmanager
def _ledger(home: Home) -> Generator[sqlalchemy.Connection | None]:
    """The ledger's database; None where the home has none yet, for connecting would make one."""
    url = sqlalchemy.make_url(home.database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        yield None
        return
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            ready = sqlalchemy.inspect(connection).has_table("events")
            yield connection if ready else None
    finally:
        engine.dispose()


def _markdown(features: list[FeatureAnswer]) -> str:
    head = [
        "| feature | meaning | 含义 | unit or values | source | null means |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(
        head
        + [
            f"| {f.name} | {f.en} | {f.zh} | {f.unit or f.domain.replace('|', ', ') or f.kind} | {f.source} | {f.null} |"
            for f in features
        ]
    )
