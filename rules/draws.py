"""Draws that a refresh does not change: HMAC-SHA256 of a purpose, a period and a name.

Source: RFC 2104. The first 53 bits of the digest over 2^53 are a float64 in [0, 1).
"""

import hashlib
import hmac
from collections.abc import Sequence

import numpy as np


def share_of(secret: bytes, purpose: str, period: str, names: Sequence[str]) -> np.ndarray:
    """(n,) float64 in [0, 1): the same for the same secret, purpose, period and name, for ever."""
    keyed = hmac.new(secret or b"unset", f"{purpose}\x1f{period}\x1f".encode(), hashlib.sha256)
    draws = np.empty(len(names))
    for place, name in enumerate(names):
        digest = keyed.copy()
        digest.update(name.encode())
        draws[place] = (int.from_bytes(digest.digest()[:8], "big") >> 11) / 9007199254740992.0
    return draws
