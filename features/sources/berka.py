"""Berka: a real Czech bank, 1993 to 1998, as given to the PKDD'99 challenge; `;` files, Czech codes.

Reads a whole download (`trans.asc`) or the parts of it that are public in three forms. The table of
standing orders is never read: it has no date, and an order for a loan exists only once the loan
does, so that whatever is made of it knows the future. What the data do not say stands in
assumptions.yaml. The tables go through the same checks as a bank's own.
"""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import yaml

from features.feed import FeedError, FeedReport, Progress
from features.home import Home, Settings
from features.intake import take_over
from features.sources.frames import write_frame
from features.staging import alone, written

ZONE = "Europe/Prague"
END = datetime(1998, 12, 31, 23, tzinfo=UTC)  # the midnight in Prague that ends the data
SETTINGS = Settings(name="Berka", currency="CZK", currencies=("CZK",), zone=ZONE, clock="simulated", now=END,
                    booking_channels=("branch", "card"))  # fmt: skip
FILES = ("account", "card", "client", "disp", "district", "loan")
WHOLE = "trans.asc"
FIRST, TESTED, OCTOBER = "trans_first3MiB_original_codes.asc", "trans_loan_test_accounts.csv", "trans_1997-10.csv"
# What a booking was: by its purpose where it has one that says so, else by its operation, and by its type where it names
# none. What an operation nobody knows was is left empty, and the checks refuse the row.
PURPOSES = {
    "UROK": "interest", "interest credited": "interest", "SANKC. UROK": "interest",
    "sanction interest if negative balance": "interest", "SLUZBY": "fee", "payment for statement": "fee",
    "UVER": "loan_payment", "loan payment": "loan_payment",
}  # fmt: skip
OPERATIONS = {
    "VKLAD": "cash_deposit", "credit in cash": "cash_deposit", "VYBER": "cash_withdrawal",
    "withdrawal in cash": "cash_withdrawal", "VYBER KARTOU": "cash_withdrawal",
    "credit card withdrawal": "cash_withdrawal", "PREVOD Z UCTU": "transfer_in",
    "collection from another bank": "transfer_in", "PREVOD NA UCET": "transfer_out",
    "remittance to another bank": "transfer_out",
}  # fmt: skip
CHANNELS = {"VKLAD": "branch", "credit in cash": "branch", "VYBER": "branch", "withdrawal in cash": "branch",
            "VYBER KARTOU": "card", "credit card withdrawal": "card"}  # fmt: skip
CREDITS = ("PRIJEM", "credit", "CREDIT")
DEBITS = ("VYDAJ", "VYBER", "withdrawal", "withdrawal in cash", "WITHDRAWAL")
ASSUMPTIONS = (
    "no consents: all granted",
    "no reachability: all reachable by mail",
    "no contacts: nobody was ever contacted",
    "no cases: none open",
    "no risk grades: risk rules cannot be met",
    "no deaths register: nobody is deceased",
    "no do-not-contact register: nobody is on it, nobody objects to profiling",
    "no staff, vulnerability or fraud marks: nobody carries one",
    "no arrears: nobody is in arrears",
    "no households: everybody decides alone; who may use another's account is no household",
    "no hours: a booking counts from noon of its day, several of one day in the order of the file",
    "no recording clock: a row was known the moment it happened",
    "no closings: an account, card or loan once opened stays open",
    "no booking names a person: it is the owner's",
    "no pension mark: a pension is a transfer",
    "no standing orders: the table has no dates and knows of loans before they exist",
)
PARTS = (
    "no whole ledger: bookings of 1993-01 to 1994-03, of 354 borrowers before their loan, and of October 1997 only",
    "no operations in October 1997: credits are transfers in, debits transfers out, balances are not told",
)


def import_berka(home: Home, directory: Path, progress: Progress | None = None) -> FeedReport:
    """Import the Berka bank into a home whose currency is CZK (make it with SETTINGS).

    Args:
        home: Where to; its present should be the end of the data, 1999-01-01 in Prague.
        directory: Folder of the `.asc` files; with `trans.asc` the whole, else with its public parts.
        progress: Called with table and rows read so far.

    Raises:
        FeedError: A file is missing, is not UTF-8 or has other columns.
    """
    for name in FILES:
        if not (directory / f"{name}.asc").is_file():
            raise FeedError(f"`{directory}`: {name}.asc is missing; give the folder of the PKDD'99 files")
    parts = (
        [WHOLE] if (directory / WHOLE).is_file() else [n for n in (FIRST, TESTED, OCTOBER) if (directory / n).is_file()]
    )
    if not parts:
        raise FeedError(f"`{directory}`: {WHOLE} is missing, and so are its parts; add one of them")
    if "CZK" not in home.settings.currencies:
        raise FeedError(f"`{home.path}`: bank.yaml has no CZK; add it to `currencies`")
    with alone(home) as staging:
        out = written(staging)
        _write_tables(directory, out, parts)
        told = ASSUMPTIONS if parts == [WHOLE] else (*ASSUMPTIONS, *PARTS)
        (out / "assumptions.yaml").write_text(yaml.safe_dump(list(told), width=1000), "utf-8")
        return take_over(home, out, staging, str(directory), progress)


def _read(file: Path, *columns: str, separator: str = ";") -> pl.DataFrame:
    try:
        rows = pl.read_csv(file, separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        if "utf-8" in str(error):
            raise FeedError(f"`{file}` is not UTF-8; take the file as it was published") from error
        raise FeedError(f"`{file}` is no `{separator}` file: {str(error).splitlines()[0]}") from error
    missing = next((c for c in columns if c not in rows.columns), None)
    if missing:
        raise FeedError(f"`{file}`: column `{missing}` is missing; take the file as it was published")
    return rows.select(columns).with_columns(pl.col(columns).str.strip_chars())


def _write_tables(folder: Path, out: Path, parts: list[str]) -> None:
    dispositions = _read(folder / "disp.asc", "disp_id", "client_id", "account_id", "type")
    accounts = _read(folder / "account.asc", "account_id", "district_id", "date")
    districts = _read(folder / "district.asc", "A1", "A2").rename({"A1": "district_id", "A2": "home_branch"})
    accounts = accounts.join(districts, on="district_id", how="left").with_columns(opened_on=_day("date"))
    owners = _owners(dispositions)
    write_frame(
        out, "customers", _customers(_read(folder / "client.asc", "client_id", "birth_number"), dispositions, accounts)
    )
    cards = _read(folder / "card.asc", "card_id", "disp_id", "type", "issued")
    loans = _read(folder / "loan.asc", "loan_id", "account_id", "date", "duration")
    products, held, holders = _holdings(accounts, cards, loans, dispositions, owners)
    write_frame(out, "products", products)
    write_frame(out, "accounts", held)
    write_frame(out, "holders", holders)
    write_frame(out, "transactions", _transactions(folder, parts).join(owners, on="account_id", how="left"))


def _owners(dispositions: pl.DataFrame) -> pl.DataFrame:
    """account_id, customer_id of the accounts with exactly one owner: of two nobody can say who made a booking."""
    owners = dispositions.filter(pl.col("type") == "OWNER").select("account_id", customer_id="client_id").unique()
    return owners.filter(pl.len().over("account_id") == 1)


def _customers(clients: pl.DataFrame, dispositions: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """One person a client; a woman's month of birth is written with 50 added."""
    first = dispositions.join(accounts, on="account_id").sort("opened_on", "account_id")
    first = (
        first.group_by("client_id", maintain_order=True)
        .first()
        .select("client_id", "home_branch", joined_on="opened_on")
    )
    number = 19_000_000 + pl.col("birth_number").cast(pl.Int64, strict=False)
    plain = pl.when(number // 100 % 100 > 50).then(number - 5000).otherwise(number)
    born = plain.cast(pl.String).str.to_date("%Y%m%d", strict=False)
    flags = ("do_not_contact", "no_profiling", "deceased", "staff", "vulnerable", "fraud_lock")
    return clients.join(first, on="client_id", how="left").sort("client_id").select(
        "home_branch", "joined_on", customer_id="client_id", kind=pl.lit("person"), birth_date=born,
        time_zone=pl.lit(ZONE), arrears_days=pl.lit(0, pl.Int64), **{flag: pl.lit(False) for flag in flags},
    )  # fmt: skip


def _holdings(accounts: pl.DataFrame, cards: pl.DataFrame, loans: pl.DataFrame, dispositions: pl.DataFrame,
              owners: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:  # fmt: skip
    """Products, accounts and holders; cards and loans are accounts of their own that nothing is booked on.

    One whose account or holder is unknown keeps its row without a customer, which the checks refuse and count.
    """
    card, loan = pl.lit("card-") + pl.col("card_id"), pl.lit("loan-") + pl.col("loan_id")
    held = pl.concat([
        accounts.select("account_id", "opened_on", product=pl.lit("current_czk")),
        cards.select(account_id=card, opened_on=_day("issued"), product=pl.lit("card_") + pl.col("type")),
        loans.select(account_id=loan, opened_on=_day("date"), product=pl.lit("loan")),
    ]).with_columns(currency=pl.lit("CZK"))  # fmt: skip
    months = pl.col("duration").cast(pl.Int64, strict=False).cast(pl.String) + "mo"
    ends = loans.select(account_id=loan, matures_on=_day("date").dt.offset_by(months))
    role = pl.when(pl.col("type") == "OWNER").then(pl.lit("owner")).otherwise(pl.lit("authorised"))
    holders = pl.concat([
        dispositions.select("account_id", customer_id="client_id", role=role),
        cards.drop("type").join(dispositions, on="disp_id", how="left", maintain_order="left").select(card.alias("account_id"), customer_id="client_id", role=pl.lit("owner")),
        loans.join(owners, on="account_id", how="left", maintain_order="left").select(loan.alias("account_id"), "customer_id", role=pl.lit("owner")),
    ])  # fmt: skip
    products = held.select("product", "currency").unique().sort("product")
    family = (
        pl.when(pl.col("product").str.starts_with("card"))
        .then(pl.lit("card"))
        .otherwise("product")
        .str.replace("_czk", "")
    )
    return products.with_columns(family=family), held.join(ends, on="account_id", how="left"), holders


def _transactions(folder: Path, parts: list[str]) -> pl.DataFrame:
    columns = ("trans_id", "account_id", "date", "type", "operation", "amount", "balance", "k_symbol")
    rows = pl.concat([pl.DataFrame(schema=dict.fromkeys(columns, pl.String)),
                      *(_read(folder / name, *columns) for name in parts if name != OCTOBER)])  # fmt: skip
    rows = rows.with_columns(day=_day("date")).drop("date")
    if OCTOBER in parts:
        rows = pl.concat(
            [rows, _october(_read(folder / OCTOBER, "date", "account_id", "type", "amount", separator=","), rows)]
        )
    turn = pl.int_range(pl.len()).over("account_id", "day")
    sign = pl.when(pl.col("type").is_in(CREDITS)).then(1).when(pl.col("type").is_in(DEBITS)).then(-1)
    by_type = pl.when(sign == 1).then(pl.lit("transfer_in")).when(sign == -1).then(pl.lit("transfer_out"))
    unnamed = pl.col("operation").fill_null("") == ""
    booked = _noon("day") + pl.duration(microseconds=turn)
    return rows.select(
        "account_id", transaction_id="trans_id", amount_minor=sign * _minor("amount"), currency=pl.lit("CZK"),
        kind=pl.coalesce(_coded("k_symbol", PURPOSES), _coded("operation", OPERATIONS), pl.when(unnamed).then(by_type)),
        channel=_coded("operation", CHANNELS), balance_after_minor=_minor("balance"), booked_at=booked, recorded_at=booked,
    ).sort("booked_at", maintain_order=True)  # fmt: skip


def _october(october: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The bookings of October 1997 that the other parts do not hold, each matched once."""
    is_credit = pl.col("type").is_in(CREDITS)
    twin = [pl.col("account_id"), pl.col("day"), _minor("amount").alias("minor"), is_credit.alias("credit")]
    place = pl.int_range(pl.len()).over("account_id", "day", "minor", "credit").alias("turn")
    rows = october.with_row_index("row").with_columns(day=pl.col("date").str.to_date(strict=False)).with_columns(twin)
    fresh = rows.with_columns(place).join(
        known.select(twin).with_columns(place), on=["account_id", "day", "minor", "credit", "turn"], how="anti",
        maintain_order="left",
    )  # fmt: skip
    nothing = pl.lit(None, pl.String)
    return fresh.select(trans_id=pl.format("1997-10-{}", "row"), account_id="account_id", type="type", operation=nothing,
                        amount="amount", balance=nothing, k_symbol=nothing, day="day").select(known.columns)  # fmt: skip


def _coded(column: str, codes: dict[str, str]) -> pl.Expr:
    return pl.col(column).replace_strict(codes, default=None, return_dtype=pl.String)


def _minor(column: str) -> pl.Expr:
    """Hellers, to the digit: `-12.5` and `-12.50` are -1250."""
    return (pl.col(column).cast(pl.Decimal(18, 2), strict=False) * 100).cast(pl.Int64)


def _day(column: str) -> pl.Expr:
    """A day written 930705, perhaps with a time behind it."""
    return (pl.lit("19") + pl.col(column).str.slice(0, 6)).str.to_date("%Y%m%d", strict=False)


def _noon(column: str) -> pl.Expr:
    local = pl.col(column).cast(pl.Datetime("us")) + pl.duration(hours=12)
    return local.dt.replace_time_zone(ZONE).dt.convert_time_zone("UTC")
