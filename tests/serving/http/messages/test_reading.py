"""Depth is counted outside texts only, in one pass, and numbers are kept exactly."""

import pytest

from serving.http.messages import DecisionRequest, DueContactsQuery
from serving.http.messages.reading import DEPTH_MAX, MessageError, read_body, read_id, read_query


def test_brackets_inside_texts_are_not_depth():
    body = b'{"customer_id": "' + b"[{" * 30 + b'\\"[["}'
    assert read_body(DecisionRequest, body).customer_id == "[{" * 30 + '"[['


def test_many_objects_beside_each_other_are_not_deep():
    body = b'{"customer_id": "C", "context": {%s}}' % b",".join(b'"a%d": 1' % n for n in range(16))
    assert len(read_body(DecisionRequest, body).context or {}) == 16


@pytest.mark.parametrize("depth", [DEPTH_MAX, DEPTH_MAX + 1])
def test_the_limit_of_depth_is_the_limit(depth):
    body = b'{"x":' * (depth - 1) + b"[]" + b"}" * (depth - 1)
    with pytest.raises(MessageError) as refused:
        read_body(DecisionRequest, body)
    assert refused.value.malformed == (depth > DEPTH_MAX)


@pytest.mark.parametrize(
    "body",
    [b'"' + b'\\"' * 32_000, b"[" * 64_000, b'"' * 64_000, b"\\" * 64_000, b'["' * 32_000],
    ids=["escapes", "brackets", "quotes", "backslashes", "openings"],
)
@pytest.mark.timeout(5)
def test_p21_no_body_makes_the_check_slow(body):
    with pytest.raises(MessageError):
        read_body(DecisionRequest, b'{"a":1,"b":[[[[[[[[' + body)


def test_numbers_pass_unchanged():
    body = b'{"customer_id": "C", "context": {"n": 9007199254740993, "x": 0.1, "b": true}}'
    context = read_body(DecisionRequest, body).context
    assert context == {"n": 9007199254740993, "x": 0.1, "b": True}
    assert [type(value) for value in (context or {}).values()] == [int, float, bool]


def test_a_query_is_read_with_its_defaults():
    query = read_query(DueContactsQuery, b"channel=sms&due=2026-06-01T17%3A30%3A00%2B08%3A00")
    assert (query.channel, query.limit, query.cursor) == ("sms", 100, None)
    assert query.due is not None
    assert query.due.isoformat() == "2026-06-01T09:30:00+00:00"


def test_an_id_out_of_a_path_is_an_id():
    assert read_id("K-1") == "K-1"
    with pytest.raises(MessageError, match="id in the path should be printable"):
        read_id("K\n1")
