import numpy as np
import pytest

from training.value import VALUE_FEATURES, ValueFormula, ValueModel, annual_rate


def test_value_by_hand() -> None:
    model = ValueModel(interest_margin=0.01, interchange=0.005, discount=0.0, horizon_years=3, annual_churn=0.5)
    formula = ValueFormula(VALUE_FEATURES, model)
    rows = np.asarray([[100_000, 20_000, 300], [-5_000, np.nan, -300], [np.nan] * 3])
    assert model.expected_years == 1.75
    np.testing.assert_array_equal(formula.predict(rows), [(1000 + 100 + 300) * 1.75, 300 * 1.75, np.nan])


def test_a_bank_without_balances_values_what_it_knows() -> None:
    formula = ValueFormula(("purchase_sum_365d",), ValueModel(annual_churn=1.0))
    np.testing.assert_array_equal(formula.predict(np.asarray([[250_000.0]])), [1000.0])


@pytest.mark.parametrize(("p", "days", "expected"), [(0.0, 60, 0.0), (1.0, 60, 1.0), (0.19, 182.5, 1 - 0.81**2)])
def test_annual_rate_compounds(p: float, days: float, expected: float) -> None:
    assert annual_rate(p, days) == pytest.approx(expected)  # pyright: ignore[reportArgumentType]  # half a year
