"""Draws: HMAC-SHA256 as the standard library has it."""

import hashlib
import hmac

import pytest

from rules.draws import share_of, share_of_one


@pytest.mark.parametrize("secret", [b"", b"k", b"x" * 64, b"y" * 65, b"z" * 300])
def test_a_draw_is_the_hmac_of_purpose_period_and_name(secret: bytes) -> None:
    names = ["", "U1", "户" * 90, "a" * 1000]
    for name, share in zip(names, share_of(secret, "holdout", "2026H1", names), strict=True):
        text = f"holdout\x1f2026H1\x1f{name}".encode()
        digest = hmac.new(secret or b"unset", text, hashlib.sha256).digest()
        assert share == (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53
        assert share == share_of_one(secret, "holdout", "2026H1", name)


def test_nobody_draws_nothing() -> None:
    assert share_of(b"k", "holdout", "s", []).shape == (0,)


def test_draws_fill_the_interval_evenly() -> None:
    shares = share_of(b"k", "explore", "s", [str(i) for i in range(4000)])
    assert 0 <= shares.min() <= shares.max() < 1
    assert abs(shares.mean() - 0.5) < 0.03
