from dataclasses import replace

import numpy as np
import pytest

from simulation import response
from simulation.response import Minds
from simulation.world import (
    DOLLAR,
    LEAVING,
    N_CHANNELS,
    N_OFFERS,
    NEEDS,
    OFFER_INDEX,
    OFFERS,
    RETENTION,
)

USD_WEALTH, LOAN, GOLD = (OFFER_INDEX[o] for o in ("wealth_usd_income", "loan_personal", "card_gold"))


@pytest.fixture
def average() -> Minds:
    """One customer without any leaning, with money for everything."""
    return Minds(
        needs=np.zeros((1, len(NEEDS))), taste=np.zeros((1, N_OFFERS)),
        taste_organic=np.zeros((1, N_OFFERS)), taste_channel=np.zeros((1, N_CHANNELS)),
        works=np.ones((1, N_CHANNELS), np.bool_), temper=np.zeros(1), annoyance=np.zeros(1),
        age_years=np.full(1, 45.0), is_firm=np.zeros(1, np.bool_), earns=np.ones(1, np.bool_),
        funds_minor=np.full((1, 4), 10**9), holds=np.zeros((1, N_OFFERS), np.bool_),
        active=np.ones(1, np.bool_),
    )  # fmt: skip


def test_the_average_customer_accepts_by_the_logit_in_the_table(average: Minds) -> None:
    expected = [1 / (1 + np.exp(-offer.yes_logit)) for offer in OFFERS]
    np.testing.assert_allclose(response.p_accept(average)[0], expected)


def test_dollars_gone_lower_the_dollar_offer(average: Minds) -> None:
    poor = replace(average, funds_minor=np.array([[10**9, 499_999, 0, 0]]))
    rich = replace(average, funds_minor=np.array([[10**9, 500_000, 0, 0]]))
    of_poor, of_rich = response.p_accept(poor)[0], response.p_accept(rich)[0]
    assert of_poor[USD_WEALTH] < 0.3 * of_rich[USD_WEALTH]
    assert of_poor[GOLD] == of_rich[GOLD]


def test_a_need_raises_both_the_answer_and_the_unasked_take_up(average: Minds) -> None:
    keen = replace(average, needs=np.eye(len(NEEDS))[[DOLLAR]])
    for law in (response.p_accept, response.p_organic):
        assert law(keen)[0, USD_WEALTH] > 2 * law(average)[0, USD_WEALTH]


def test_what_is_held_once_is_not_taken_again(average: Minds) -> None:
    holder = replace(average, holds=np.ones((1, N_OFFERS), np.bool_))
    p = response.p_accept(holder)[0]
    repeatable = np.array([offer.repeatable for offer in OFFERS])
    assert (p[~repeatable] == 0).all()
    assert (p[repeatable] > 0).all()


def test_firms_take_no_offer_for_persons(average: Minds) -> None:
    p = response.p_accept(replace(average, is_firm=np.ones(1, np.bool_)))[0]
    assert [offer.persons_only for offer in OFFERS] == (p == 0).tolist()


def test_without_a_salary_a_loan_is_rarely_taken(average: Minds) -> None:
    idle = replace(average, earns=np.zeros(1, np.bool_))
    assert response.p_accept(idle)[0, LOAN] < 0.2 * response.p_accept(average)[0, LOAN]


def test_annoyance_lowers_reach_and_acceptance_and_raises_harm_and_leaving(average: Minds) -> None:
    annoyed = replace(average, annoyance=np.full(1, 3.0))
    assert (response.p_reached(annoyed) < response.p_reached(average)).all()
    assert (response.p_accept(annoyed) < response.p_accept(average)).all()
    assert (response.p_harm(annoyed) > 5 * response.p_harm(average)).all()
    assert response.p_churn(annoyed)[0] > response.p_churn(average)[0]


def test_nothing_arrives_at_a_dead_address(average: Minds) -> None:
    works = np.array([[False] + [True] * (N_CHANNELS - 1)])
    p = response.p_reached(replace(average, works=works))[0]
    assert p[0] == 0
    assert (p[1:] > 0).all()


def test_nobody_takes_a_retention_bonus_unasked(average: Minds) -> None:
    leaving = replace(average, needs=3 * np.eye(len(NEEDS))[[LEAVING]])
    assert response.p_organic(leaving)[0, RETENTION] < 1e-12


def test_who_is_gone_answers_nothing(average: Minds) -> None:
    gone = replace(average, active=np.zeros(1, np.bool_))
    laws = (response.p_reached, response.p_accept, response.p_organic, response.p_harm)
    assert all((law(gone) == 0).all() for law in laws)
    assert response.p_churn(gone)[0] == 0
