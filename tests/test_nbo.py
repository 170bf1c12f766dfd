"""The front door: one JSON object, exit codes 0, 1 and 2, errors in one line, bad tables refused whole."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import nbo
from features.tables import TABLES
from serving.priority import NICE
from tests.features.sources.test_berka import small as berka_files
from tests.home import HERO, Clock, ask, copied, office_at

ROOT = Path(nbo.__file__).parent


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    return copied(tmp_path / "bank")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`nbo` with arguments: (exit code, stdout, stderr)."""

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nbo", *map(str, arguments)])
        monkeypatch.setattr(nbo, "give_way", lambda command: None)  # this process is the tests'
        with pytest.raises(SystemExit) as ended:
            nbo.main()
        said = capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0, said.out, said.err

    return command


Run = Callable[..., tuple[int, str, str]]


WORDS = ("serve", "decide", "plan", "serve", "plan")
FRONT_DOOR = """
import nbo, os, sys
print(*sorted({"altair", "lightgbm", "mlflow", "optuna", "pandas", "sklearn"} & set(sys.modules)))
for word in sys.argv[1:]: nbo.give_way(word); print(os.getpriority(os.PRIO_PROCESS, 0))
"""


@pytest.fixture(scope="module")
def process() -> list[str]:
    """What a process of its own says: the slow imports it has made, then its priority after each command."""
    ran = subprocess.run([sys.executable, "-c", FRONT_DOOR, *WORDS], capture_output=True, text=True, check=True, cwd=ROOT)  # fmt: skip
    return ran.stdout.splitlines()


def test_what_computes_for_long_gives_way_to_the_service_and_the_service_to_nobody(process: list[str]) -> None:
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert [int(line) for line in process[1:]] == [mine, mine, *[max(mine, NICE)] * 3]


def test_no_command_waits_for_libraries_that_only_learning_needs(process: list[str]) -> None:
    assert process[0] == ""


def test_the_front_door_says_which_command_it_is_before_it_begins(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str | None] = []
    monkeypatch.setattr(nbo, "give_way", begun.append)
    monkeypatch.setattr(sys, "argv", ["nbo", "--home", str(bank), "schedule", "next"])
    with pytest.raises(SystemExit):
        nbo.main()
    assert begun == ["schedule"]


def one_object(text: str) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert text.endswith("\n") and text.count("\n") == 1
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("arguments", [
    ["features", "build", "--as-of", "2026-05-31T00:00:00Z"], ["features", "describe"], ["features", "latest", HERO],
    ["models", "list"], ["plan", "all_year"], ["plan", "all_year", "dollars", "--dry-run"],
    ["decide", HERO, "NOBODY"], ["decide", HERO, "--channel", "sms", "--direction", "inbound"],
    ["keys", "add", "sms-gateway", "--role", "channel"], ["keys", "list"],
    ["audit", "show", "{decision}"], ["audit", "why", "{decision}"], ["audit", "replay", "{decision}"],
    ["init", "{home}"], ["import", "tables", "{source}"],
])  # fmt: skip
def test_json_is_one_object_on_stdout(bank: Path, run: Run, arguments: list[str]) -> None:
    office = office_at(bank, Clock())
    decision = ask(office).decision_id
    office.close()
    named = {"decision": decision, "home": str(bank), "source": str(bank.parent / "source")}
    if "import" in arguments:
        small_tables(bank.parent / "source")
    code, out, err = run("--home", bank, *[part.format(**named) for part in arguments], "--json")
    assert code == 0, err
    one_object(out)
    code, text, _ = run("--home", bank, *[part.format(**named) for part in arguments])
    if arguments[:2] != ["keys", "add"]:  # the name is taken by now
        assert code == 0 and (not text.startswith("{") or "show" in arguments)


@pytest.mark.parametrize(("arguments", "line"), [
    ([], "error: missing command; nbo --help and nbo COMMAND --help say what there is\n"),
    (["bogus"], "error: no such command 'bogus'; nbo --help and nbo COMMAND --help say what there is\n"),
    (["plan"], "error: missing argument 'campaigns'; nbo --help and nbo COMMAND --help say what there is\n"),
    (["plan", "all_year", "--bogus"], "error: no such option: --bogus; nbo --help and nbo COMMAND --help say what there is\n"),
    (["plan", "nope"], "error: no campaign `nope` in `{home}/campaigns`; there are: all_year, dollars\n"),
    (["plan", "all_year", "--as-of", "soon"], "error: `soon` is no instant; write 2026-06-01T00:00:00Z or 2026-06-01\n"),
    (["plan", "all_year", "--as-of", "2024-01-01"], "error: no feature snapshot of this version at or before the plan's instant; nbo features build --as-of T\n"),
    (["decide", HERO, "--channel", "fax"], "error: unknown channel `fax`; there are: sms, email, app, call, branch\n"),
    (["decide", " x"], "error: a customer id has 1 to 64 printable characters without outer spaces; mend it\n"),
    (["audit", "show", "d0"], "error: there is no such decision; give a decision_id of the service, or show a contact_id of a list\n"),
    (["import", "tables", "/nowhere", "--json"], "error: `/nowhere` is not a folder; give the folder that holds the tables\n"),
    (["demo"], "error: `{home}` exists and is no demo bank; choose another with nbo --home DIR demo\n"),
])  # fmt: skip
def test_bad_usage_and_input_is_one_line_and_exit_2(bank: Path, run: Run, arguments: list[str], line: str) -> None:
    assert run("--home", bank, *arguments) == (2, "", line.format(home=bank))


def test_the_whole_program_says_it_in_one_line_too(tmp_path: Path) -> None:
    """Once as a process of its own: the exit code, and nothing on stdout."""
    done = subprocess.run([sys.executable, str(ROOT / "nbo.py"), "--home", str(tmp_path), "decide", "x", "--json"],
                          capture_output=True, text=True, check=False, cwd=tmp_path)  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: `{tmp_path}` is not a bank's home: bank.yaml is missing; nbo init {tmp_path}\n"


def test_exit_1_is_a_check_that_said_no(bank: Path, run: Run) -> None:
    office = office_at(bank, Clock())
    decision = ask(office).decision_id
    office.close()
    connection = sqlite3.connect(bank / "nbo.db")
    with connection:
        connection.execute("UPDATE decisions SET terms = 'x'")
    connection.close()
    code, out, err = run("--home", bank, "audit", "show", decision, "--json")
    assert code == 1 and one_object(out)["whole"] is False
    assert err == "the record is not what was written: its hash differs\n"


@pytest.mark.parametrize(("spoil", "line"), [
    (lambda home: (home / "catalogue.yaml").unlink(), "catalogue.yaml` is missing; nbo init"),
    (lambda home: shutil.copy(home / "policies" / "retail.yaml", home / "policies" / "second.yaml"), "holds 2 policies; exactly one may be in force"),
    (lambda home: (home / "campaigns" / "dollars.yaml").write_text("id: x"), "is missing; add it"),
    (lambda home: (home / "bank.yaml").write_text((home / "bank.yaml").read_text().replace("currency: CNY", "currency: USD")), "counts in CNY, bank.yaml in USD; make them one"),
    (lambda home: shutil.rmtree(home / "data"), "holds no customers; run nbo import first"),
    (lambda home: (home / "secret.key").unlink(), "secret.key is missing; bring it back from the backup"),
    (lambda home: (home / "nbo.db").write_bytes(b"not a database" * 99), "the ledger cannot be read or written"),
])  # fmt: skip
def test_a_spoilt_home_is_one_line(bank: Path, run: Run, spoil: Callable[[Path], object], line: str) -> None:
    spoil(bank)
    code, out, err = run("--home", bank, "plan", "all_year", "--json")
    assert (code, out) == (2, "") and err.count("\n") == 1 and err.startswith("error: ") and line in err


# ---- a new home ----------------------------------------------------------------------------------


def test_init_makes_a_home_and_a_second_time_changes_nothing(tmp_path: Path, run: Run) -> None:
    home = tmp_path / "new"
    code, out, _ = run("init", home, "--currency", "EUR", "--zone", "Europe/Berlin", "--json")
    written = one_object(out)["written"]
    assert code == 0 and [Path(path).name for path in written] == [
        "catalogue.yaml",
        "retail.yaml",
        "retail.cases.yaml",
        "retail.invariants.yaml",
        "all_year.yaml",
        "dollars.yaml",
    ]
    assert "\nbase_currency: EUR\n" in (home / "catalogue.yaml").read_text("utf-8")
    assert (home / "secret.key").stat().st_mode & 0o777 == 0o600
    (home / "campaigns" / "dollars.yaml").unlink()
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    code, out, _ = run("init", home, "--json")
    assert code == 0 and one_object(out) == {"home": str(home), "written": []}
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("option", "line"), [
    (["--currency", "usd"], "error: `usd` is not a currency; write three capitals, such as EUR\n"),
    (["--zone", "Mars/Base"], "error: `Mars/Base` is not a time zone; write an IANA name, Europe/London\n"),
])  # fmt: skip
def test_init_refuses_what_no_bank_has(tmp_path: Path, run: Run, option: list[str], line: str) -> None:
    assert run("init", tmp_path / "new", *option) == (2, "", line)
    assert not (tmp_path / "new").exists()


def test_init_leaves_a_folder_of_other_things_alone(tmp_path: Path, run: Run) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    assert run("init", tmp_path)[::2] == (
        2,
        f"error: `{tmp_path}` is not empty and not a bank's home; choose an empty folder\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


# ---- bad tables ----------------------------------------------------------------------------------


def table(name: str, *rows: dict[str, str]) -> str:
    """A CSV in the contract's columns."""
    columns = [column.name for column in TABLES[name].columns]
    return "".join(",".join(row) + "\n" for row in [columns, *([row.get(c, "") for c in columns] for row in rows)])


def person(customer: str, **more: str) -> dict[str, str]:
    return {"customer_id": customer, "kind": "person", "birth_date": "1980-01-01", "time_zone": "Asia/Shanghai"} | more


def account(account_: str, **more: str) -> dict[str, str]:
    return {"account_id": account_, "product": "current_usd", "currency": "USD", "opened_on": "2024-01-01"} | more


PURCHASE = {"transaction_id": "t1", "account_id": "A1", "customer_id": "A", "amount_minor": "-5", "currency": "USD", "kind": "purchase",
            "booked_at": "2026-05-01T00:00:00Z", "recorded_at": "2026-05-01T00:00:00Z"}  # fmt: skip
CUSTOMERS = table("customers", person("A"), person("B"))
ACCOUNTS = table("accounts", account("A1"), account("B1"))


def small_tables(folder: Path) -> None:
    """Two customers with an account each, and one purchase."""
    folder.mkdir(exist_ok=True)
    (folder / "customers.csv").write_text(CUSTOMERS)
    (folder / "accounts.csv").write_text(ACCOUNTS)
    (folder / "transactions.csv").write_text(table("transactions", PURCHASE))


def tables_of(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes() for path in sorted((home / "data").rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize(("file", "text", "words"), [
    ("customers.csv", CUSTOMERS.replace(",kind", "").replace(",person", ""), ["customers.csv", "`kind`"]),
    ("customers.csv", "", ["customers.csv", "is empty; write its header and rows, or remove it"]),
    ("customers.csv", CUSTOMERS.splitlines()[0] + "\n", ["customers.csv", "no rows; write its rows"]),
    ("accounts.csv", ACCOUNTS.replace("currency", "curency"), ["accounts.csv", "`curency`", "`currency`"]),
    ("custommers.csv", CUSTOMERS, None),
])  # fmt: skip
def test_a_table_that_is_not_the_contracts_writes_nothing(
    bank: Path, run: Run, file: str, text: str, words: list[str] | None
) -> None:
    source = bank.parent / "source"
    small_tables(source)
    (source / file).write_text(text)
    before = tables_of(bank)
    code, out, err = run("--home", bank, "import", "tables", source, "--json")
    if words is None:  # a stranger beside whole tables is ignored and named
        assert code == 0 and one_object(out)["report"]["ignored"] == [file]
        return
    assert (code, out) == (2, "") and err.count("\n") == 1, err
    assert all(word in err for word in words), err
    assert tables_of(bank) == before and not list(bank.glob(".import*"))


@pytest.mark.parametrize(("file", "row", "reason"), [
    ("accounts.csv", account("C1", product="current_gbp", currency="GBP"), "`currency` is not among bank.yaml's currencies"),
    ("accounts.csv", account("C1", opened_on="2031-01-01"), "`opened_on` lies in the future"),
    ("accounts.csv", account("A1", product="current_eur"), "duplicate key; an earlier row stays"),
    ("accounts.csv", account("C1", opened_on="1.1.24"), "`opened_on`"),
    ("customers.csv", person("A"), "duplicate key; an earlier row stays"),
    ("customers.csv", person(""), "`customer_id` is empty"),
    ("customers.csv", person("C", kind="robot"), "`kind` is not one of person, corporate"),
])  # fmt: skip
def test_p22_a_bad_row_is_quarantined_and_counted_and_the_rest_goes_through(
    bank: Path, run: Run, file: str, row: dict[str, str], reason: str
) -> None:
    source = bank.parent / "source"
    small_tables(source)
    with (source / file).open("a") as out_:
        out_.write(table(file.removesuffix(".csv"), row).splitlines()[1] + "\n")
    code, out, _ = run("--home", bank, "import", "tables", source, "--json")
    told = one_object(out)
    assert code == 0 and told["rejected"] == 1
    [line] = [
        line for line in told["lines"] if "quarantined" in line
    ]  # the others say how unlike the last import it is
    assert reason in line and file in line and "1" in line, line
    name = file.removesuffix(".csv")
    report = told["report"]["tables"][name]
    assert (report["rows"], report["accepted"], report["rejects"][0]["first_row"]) == (3, 2, 3)
    assert pl.read_parquet(bank / "data" / name / "part-*.parquet").height == 2
    refused = pl.read_parquet(bank / "data" / "quarantine" / f"{name}.parquet")
    assert refused.height == 1 and reason in refused["reason"][0]


def test_an_import_into_no_home_says_how_to_make_one(tmp_path: Path, run: Run) -> None:
    small_tables(tmp_path / "source")
    code, out, err = run("--home", tmp_path / "none", "import", "tables", tmp_path / "source")
    assert (code, out) == (2, "")
    assert (
        err
        == f"error: `{tmp_path / 'none'}` is not a bank's home: bank.yaml is missing; nbo init {tmp_path / 'none'}\n"
    )


def test_a_fresh_home_goes_from_tables_to_a_silent_degraded_decision(tmp_path: Path, run: Run) -> None:
    """No model was ever trained: nothing is offered, and the answer says so."""
    home = tmp_path / "new"
    small_tables(tmp_path / "source")
    run("init", home)
    (home / "campaigns" / "dollars.yaml").unlink()
    assert run("--home", home, "import", "tables", tmp_path / "source", "--json")[0] == 0
    assert run("--home", home, "features", "build", "--json")[0] == 0
    code, out, err = run("--home", home, "decide", "A", "--json")
    if code == 2:  # the example policy asks for products this bank does not keep: one line says which
        assert err.count("\n") == 1 and "holds_" in err
        return
    [decision] = one_object(out)["decisions"]
    assert decision["degraded"] and decision["choices"] == []


def test_a_czech_bank_brings_its_own_catalogue_and_policy(tmp_path: Path, run: Run) -> None:
    source, home = berka_files(tmp_path / "source"), str(tmp_path / "home")
    with (source / "card.asc").open("a") as cards:
        cards.write('8;3;"gold";931107 00:00:00\n')
    assert run("--home", home, "import", "berka", str(source), "--json")[0] == 0
    assert run("--home", home, "features", "build", "--json")[0] == 0
    assert run("--home", home, "rules", "check", "--json")[0] == 0
    code, out, _ = run("--home", home, "decide", "1", "2", "--json")
    answers = {answer["customer_id"]: answer for answer in one_object(out)["decisions"]}
    assert code == 0
    assert "already_holds" in answers["2"]["reasons"]
    assert answers["1"]["degraded"], "no model has been trained"
