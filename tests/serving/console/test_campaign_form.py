"""A campaign as a form and back: what was typed, and no other line of its file, changes."""

import pytest

from serving.console.campaign_form import FormError, minor, of_file, typed, whole, written
from serving.console.forms import Form
from tests.home import template

FILE = """# remarks stay
id: spring
title: {en: "Spring", zh: 春季}  # so do these
owner: marketing
families: [deposit]
window: {from: 2026-01-01, to: 2026-12-31}
# of the gateway
seats: {sms: 2000, call: 200}
per_day: {sms: 500}
schedule: {cron: "0 8 * * 1-5", holidays: skip, missed: all}
approved_by: the board
"""


def filled(text: str = FILE, **otherwise: str) -> Form:
    """The form as it is shown of a file, some fields typed anew."""
    fields = typed(_campaign(text), "CNY")
    return Form(fields | {"currency": ["CNY"]} | {name: [value] for name, value in otherwise.items()})


def _campaign(text: str):
    from serving.console.campaign_form import _load

    return _load(text)


def test_a_form_sent_as_it_came_changes_no_byte():
    assert written(filled(), _campaign(FILE), FILE) == ("spring", FILE)


def test_one_field_changes_one_line_and_nothing_the_form_does_not_ask_for():
    _, text = written(filled(seats_sms="5", budget="12.50"), _campaign(FILE), FILE)
    changed = [line for line in text.splitlines() if line not in FILE.splitlines()]
    assert changed == ["seats: {call: 200, sms: 5}", "budget_minor: 1250"] or changed == [
        "seats: {sms: 5, call: 200}",
        "budget_minor: 1250",
    ]
    gone = [line for line in FILE.splitlines() if line not in text.splitlines()]
    assert gone == ["seats: {sms: 2000, call: 200}"]


def test_an_emptied_field_goes_from_the_file():
    _, text = written(filled(cron=""), _campaign(FILE), FILE)
    assert "schedule" not in text
    assert "# of the gateway\nseats" in text


def test_entries_over_several_lines_are_replaced_whole():
    long = FILE.replace("seats: {sms: 2000, call: 200}", "seats:\n  sms: 2000\n  call: 200\n")
    _, text = written(filled(long, seats_call="1"), _campaign(long), long)
    assert _campaign(text).seats == {"sms": 2000, "call": 1}
    assert "  sms: 2000" not in text


def test_a_new_campaign_says_what_was_typed_and_asks_for_no_approver():
    name, text = written(filled(id="new_one"), None)
    assert name == "new_one"
    assert "approved_by" not in text
    assert "audience" not in text  # what is so anyway is not said
    assert _campaign(text).seats == {"sms": 2000, "call": 200}


def test_every_shipped_campaign_goes_through_the_form_unchanged():
    files = sorted((template() / "campaigns").glob("*.yaml"))
    assert files
    for path in files:
        text = path.read_text("utf-8")
        assert written(filled(text), _campaign(text), text)[1] == text, path.name


@pytest.mark.parametrize(("field", "value", "line"), [
    ("seats_sms", "many", "`many` is no whole number; write digits only"),
    ("budget", "1.234", "`1.234` is no amount in CNY; write it like 12500.00"),
    ("holdout", "a tenth", "`a tenth` is no share in per cent; write it like 5"),
    ("to", "2025-01-01", "campaign.yaml"),
])  # fmt: skip
def test_what_does_not_hold_is_one_line(field, value, line):
    with pytest.raises(FormError) as refused:
        written(filled(**{field: value}), _campaign(FILE), FILE)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_amounts_have_the_digits_of_their_currency():
    assert minor("12,500.5", "CNY") == 1_250_050
    assert minor("12500", "JPY") == 12_500
    assert typed(_campaign(FILE + "budget_minor: 12500\n"), "JPY")["budget"] == ["12500"]
    assert whole("2,000") == 2_000


def test_a_file_is_taken_as_it_is():
    assert of_file(FILE) == ("spring", FILE)
    with pytest.raises(FormError, match="unknown"):
        of_file(FILE + "colour: red\n")
