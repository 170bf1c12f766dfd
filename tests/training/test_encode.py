import numpy as np
import pyarrow as pa
import pytest

from training.encode import Feature, RowEncoder, encode, model_features
from training.errors import ScoreError

FEATURES = (Feature(name="balance", kind="number"), Feature(name="holds", kind="flag"),
            Feature(name="kind", kind="enum", domain=("person", "corporate")))  # fmt: skip


def rows(n: int) -> pa.Table:
    return pa.table({
        "kind": pa.array(["corporate", "person", None, "alien"] * n),
        "balance": pa.array([1, None, 3, 4] * n, pa.int64()),
        "holds": pa.array([True, False, None, True] * n),
    })  # fmt: skip


@pytest.mark.parametrize("n", [1, 10])
def test_null_and_unknown_values_are_nan_never_a_code(n: int) -> None:
    expected = [[1, 1, 1], [np.nan, 0, 0], [3, np.nan, np.nan], [4, 1, np.nan]] * n
    np.testing.assert_array_equal(encode(rows(n), FEATURES), expected)


def test_one_row_is_encoded_like_the_row_among_many() -> None:
    table = rows(10)
    many = encode(table, FEATURES)
    alone = np.vstack([encode(table.slice(i, 1), FEATURES) for i in range(len(table))])
    np.testing.assert_array_equal(alone, many)


def test_a_plain_row_is_encoded_like_the_row_of_a_table() -> None:
    table = rows(10).append_column("rate", pa.array([np.inf, 2.5, np.nan, -1.0] * 10))
    features = (*FEATURES, Feature(name="rate", kind="number"))
    encoder = RowEncoder(features, ["rate", "holds", "other", "balance"], ["language", "kind"])
    for place, row in enumerate(table.to_pylist()):
        numbers = [
            np.nan if row.get(name) is None else float(row[name]) for name in ("rate", "holds", "other", "balance")
        ]
        found = encoder.matrix(np.array([numbers, numbers]), [["zh", row["kind"]]] * 2)
        np.testing.assert_array_equal(found, np.repeat(encode(table.slice(place, 1), features), 2, axis=0))
    with pytest.raises(ScoreError, match=r"^column `kind` is missing; build the features again or retrain$"):
        RowEncoder(features, ["rate", "holds", "balance"], [])


def test_infinity_is_unknown() -> None:
    table = pa.table({"balance": [np.inf, -np.inf, np.nan]})
    assert np.isnan(encode(table, FEATURES[:1])).all()


def test_missing_column_is_named() -> None:
    with pytest.raises(ScoreError, match=r"^column `holds` is missing; build the features again or retrain$"):
        encode(rows(1).drop_columns(["holds"]), FEATURES)


@pytest.mark.parametrize("n", [1, 10])
def test_column_of_another_type_is_named(n: int) -> None:
    table = rows(n).set_column(1, "balance", pa.array(["much"] * 4 * n))
    with pytest.raises(ScoreError, match="column `balance` is string, expected a number"):
        encode(table, FEATURES)


def test_only_declared_domains_and_permitted_columns_are_learned_from() -> None:
    def text(name: str, domain: str) -> pa.Field:
        return pa.field(name, pa.string(), metadata={b"domain": domain.encode()})

    schema = pa.schema(
        [
            text("customer_id", ""),
            ("age_years", pa.float64()),
            ("vulnerable", pa.bool_()),
            text("home_branch", ""),
            text("consent_marketing_sms", "granted|none"),
            ("reachable_sms", pa.bool_()),
            text("kind", "person|corporate"),
            ("as_of", pa.timestamp("us", "UTC")),
            ("n_accounts", pa.int64()),
        ]
    )
    assert [(f.name, f.kind, f.domain) for f in model_features(schema)] == [
        ("age_years", "number", ()),
        ("kind", "enum", ("person", "corporate")),
        ("n_accounts", "number", ()),
    ]
