"""A legacy system's log of several channels, reported over real HTTP with one key each."""

import csv
from datetime import timedelta
from pathlib import Path

import pytest

from examples.legacy_contacts import main as legacy
from examples.legacy_contacts import report
from tests.examples.conftest import Served, due_text
from tests.home import rows


def legacy_log(served: Served, contact: str) -> list[dict[str, str]]:
    """Five texts and two e-mails to the contact's customer on the day before."""
    [(customer,)] = rows(served.office, "SELECT customer_id FROM contacts WHERE contact_id = ?", contact)
    return [{"contact_id": f"L{n}", "customer_id": customer, "channel": "sms" if n < 5 else "email", "offer_id": "",
             "sent_at": (served.clock.now - timedelta(days=1, minutes=n)).isoformat()} for n in range(7)]  # fmt: skip


def test_contacts_of_a_legacy_system_count_and_reading_the_log_again_changes_nothing(served: Served) -> None:
    clients = {name: served.client(f"{name}-legacy") for name in ("sms", "email")}
    contact = due_text(served)
    clients["sms"].post(f"/v1/contacts/{contact}/cancel", "cancel-1")
    log = legacy_log(served, contact)
    assert report(clients, log) == (7, [])
    before = rows(served.office, "SELECT * FROM contacts ORDER BY contact_id")
    assert report(clients, log) == (7, [])
    assert rows(served.office, "SELECT * FROM contacts ORDER BY contact_id") == before
    for channel, client in clients.items():
        asked = {"customer_id": log[0]["customer_id"], "channels": [channel]}
        answer = client.post("/v1/decisions", "after-legacy", asked)
        assert answer["choices"] == []
        assert any(reason.startswith("cap_") for reason in answer["reasons"])


def test_the_legacy_report_ends_with_1_where_a_row_was_refused(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sms, email = served.client("sms-legacy"), served.client("email-legacy")
    rows_of_log = legacy_log(served, due_text(served))
    file = tmp_path / "log.csv"
    with file.open("w", newline="", encoding="utf-8") as log:
        writer = csv.DictWriter(log, rows_of_log[0])
        writer.writeheader()
        writer.writerows(rows_of_log)
    assert legacy([sms.url, str(file), f"sms={sms.key}"]) == 1
    told = capsys.readouterr()
    assert told.out == "5 contacts reported\n"
    assert told.err.splitlines()[1:] == [f"L{n}: no key for channel `email`; add email=KEY" for n in (5, 6)]
    assert legacy([sms.url, str(file), f"sms={sms.key}", f"email={sms.key}"]) == 1
    assert "own channel only" in capsys.readouterr().err
    assert legacy([sms.url, str(file), f"sms={sms.key}", f"email={email.key}"]) == 0
    assert capsys.readouterr().out == "7 contacts reported\n"


def test_a_log_may_begin_with_a_byte_order_mark(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mutant: read as plain UTF-8. A spreadsheet's CSV ended in KeyError: 'contact_id'."""
    [row, *_] = legacy_log(served, due_text(served))
    sms, file = served.client("sms-legacy"), tmp_path / "log.csv"
    file.write_text("\n".join(",".join(line) for line in (row, row.values())), encoding="utf-8-sig")
    assert legacy([sms.url, str(file), f"sms={sms.key}"]) == 0
    assert capsys.readouterr().out == "1 contacts reported\n"


@pytest.mark.parametrize(("header", "missing"), [
    ("contact_id,customer_id,channel,offer_id", "sent_at"), ("contact_id;channel", "contact_id`, `customer_id`, `channel`, `offer_id`, `sent_at"), ("", "contact_id`, `customer_id`, `channel`, `offer_id`, `sent_at")
])  # fmt: skip
def test_a_log_that_lacks_a_column_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str, missing: str
) -> None:
    """Mutant: KeyError at its first row."""
    file = tmp_path / "log.csv"
    file.write_text(f"{header}\nL1,C1,sms,\n", encoding="utf-8")
    assert legacy(["http://x", str(file), "sms=KEY"]) == 2
    assert capsys.readouterr().err == f"{file} has no column `{missing}`; its first line names the columns\n"


@pytest.mark.parametrize("arguments", [[], ["http://x", "log.csv"], ["http://x", "log.csv", "KEY"]])
def test_the_legacy_report_says_how_it_is_called(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert legacy(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: ")
