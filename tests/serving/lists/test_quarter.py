"""The recount of the quarter's benchmark finds what breaks a cap, and nothing else."""

from benchmarks.quarter import DAY, Contact, breaches, letters_over


def texts(*days: float, customer: str = "C1", unit: str = "U1", channel: str = "sms") -> list[Contact]:
    return [Contact(customer, unit, channel, "card_gold", int(day * DAY)) for day in days]


def test_a_third_text_within_seven_days_is_one_too_many() -> None:
    assert breaches(texts(0, 3, 6.9), {}) == 1
    assert breaches(texts(0, 3, 7), {}) == 0  # exactly seven days apart share no window
    assert breaches([*texts(0, 3), *texts(6, customer="C2", unit="U2")], {}) == 0


def test_two_members_of_a_household_on_one_day_are_one_too_many() -> None:
    assert breaches([*texts(0), *texts(0.5, customer="C2")], {}) == 1
    assert breaches([*texts(0), *texts(1, customer="C2")], {}) == 0


def test_a_contact_after_a_no_is_one_on_that_channel_alone() -> None:
    assert breaches(texts(0, 8, 16), {("C1", "sms"): 9 * DAY}) == 1
    assert breaches(texts(0, 8, 16), {("C1", "email"): 1}) == 0


def test_a_third_letter_within_thirty_days_is_one_too_many() -> None:
    assert letters_over(texts(0, 10, 29, channel="mail")) == 1
    assert letters_over(texts(0, 10, 30, channel="mail")) == 0
