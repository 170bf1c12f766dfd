from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

Z = 4.0  # standard errors; a right simulation fails one of these in thousands of seeds


def within_binomial_error(happened: pl.Series, p: pl.Series) -> bool:
    """Whether a count agrees with the probabilities its members were drawn with."""
    error = abs(float(happened.sum()) - float(p.sum()))
    return error <= Z * float((p * (1 - p)).sum()) ** 0.5


@pytest.mark.parametrize("deciles_of", ["p_accept", "annoyance"])
def test_acceptance_among_the_reached_is_what_the_truth_says(marketing: pl.DataFrame, deciles_of: str) -> None:
    reached = marketing.filter("reached").sort(deciles_of)
    assert reached["accepted"].sum() > 1_000
    for tenth in np.array_split(np.arange(reached.height), 10):
        part = reached[tenth.tolist()]
        assert within_binomial_error(part["accepted"], part["p_accept"])


@pytest.mark.parametrize("by", ["offer_id", "channel"])
def test_every_offer_and_channel_answers_by_the_truth(marketing: pl.DataFrame, by: str) -> None:
    for _, part in marketing.group_by(by):
        reached = part.filter("reached")
        assert within_binomial_error(part["reached"], part["p_reached"])
        assert within_binomial_error(reached["accepted"], reached["p_accept"])
        assert within_binomial_error(part["harmed"], part["p_harm"])


def test_unasked_take_up_and_leaving_happen_as_expected(tables: Any) -> None:
    for _, part in tables["truth/months"].group_by("kind"):
        expected, realised = part["expected"].sum(), part["realised"].sum()
        assert expected > 300
        assert abs(realised - expected) < Z * np.sqrt(expected)


def test_outcomes_tell_what_was_drawn(tables: Any, marketing: pl.DataFrame) -> None:
    """Reached = opened, clicked, accepted, refused or later; late answers may be still unknown."""
    told = tables["outcomes"].group_by("contact_id").agg(pl.col("kind"))
    old = marketing.filter(pl.col("decided_at") < tables.bank.until - timedelta(days=30))
    joined = old.join(told, on="contact_id", how="left").with_columns(pl.col("kind").fill_null([]))
    heard = joined["kind"].list.eval(pl.element().is_in(["opened", "clicked", "accepted", "refused", "later"]))
    assert (heard.list.any() == joined["reached"]).all()
    assert (joined["kind"].list.contains("accepted") == joined["accepted"]).all()
    protests = joined["kind"].list.eval(pl.element().is_in(["complained", "opted_out", "do_not_call"]))
    assert (protests.list.any() == joined["harmed"]).all()


def test_annoyance_leads_to_more_protest(marketing: pl.DataFrame) -> None:
    calm = marketing.filter(pl.col("annoyance") < 1)["harmed"].mean()
    annoyed = marketing.filter(pl.col("annoyance") > 3)["harmed"].mean()
    assert annoyed > 4 * calm  # pyright: ignore[reportOperatorIssue]  # means of booleans


def test_every_opt_out_withdraws_a_consent(tables: Any) -> None:
    said = tables["outcomes"].filter(pl.col("kind").is_in(["opted_out", "do_not_call"]))
    said = said.join(tables["contacts"], on="contact_id").select("customer_id", "at")
    withdrawn = tables["consents"].filter(pl.col("state") == "withdrawn")
    assert said.height > 100
    assert said.join(withdrawn, on=["customer_id", "at"], how="anti").height == 0
    complaints = tables["outcomes"].filter(pl.col("kind") == "complained")
    cases = tables["cases"].filter(pl.col("kind") == "complaint")
    assert cases.height >= complaints.height > 30


def test_nobody_is_marketed_to_after_withdrawing(tables: Any, marketing: pl.DataFrame) -> None:
    withdrawn = tables["consents"].filter(pl.col("state") == "withdrawn")
    later = marketing.join(withdrawn, on="customer_id", suffix="_withdrawn").filter(
        pl.col("decided_at") > pl.col("at"),
        (pl.col("channel_withdrawn") == "all") | (pl.col("channel_withdrawn") == pl.col("channel")),
    )
    assert later.height == 0


def test_the_control_group_is_never_marketed_to(tables: Any, marketing: pl.DataFrame) -> None:
    control = tables["notes"].filter(pl.col("flag") == "legacy_control")
    assert 0.03 < control.height / tables["customers"].height < 0.07
    assert marketing.join(control, on="customer_id", how="semi").height == 0


def test_contacts_are_about_ten_a_year(tables: Any, marketing: pl.DataFrame) -> None:
    years = (tables.bank.until - tables.bank.since).days / 365.25
    per_year = marketing.height / marketing["customer_id"].n_unique() / years
    assert 7 < per_year < 13


def test_logged_probabilities_are_those_of_the_choice(marketing: pl.DataFrame) -> None:
    """With true p_chosen, the mean of 1 / p_chosen is the mean number of possible cells."""
    p = marketing["p_chosen"]
    assert p.is_between(0.001, 1).all()
    cells = (1 / p).mean()
    assert 15 < cells < 45  # pyright: ignore[reportOperatorIssue]  # at most 10 x 5, some closed
