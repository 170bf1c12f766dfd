"""The root of a Merkle tree: one hash that covers many, and changes with any of them.

Source: RFC 6962, section 2.1, with the leaf's text hashed first. Leaves and nodes are hashed under
different first bytes, so that a node can never pass for a leaf.
"""

import hashlib
from collections.abc import Sequence

LEAF, NODE = b"\0", b"\1"


def merkle_root(leaves: Sequence[bytes]) -> str:
    """The root of the leaves in their order, 64 hexadecimal digits; ValueError where there are none."""
    if not leaves:
        raise ValueError("a tree without leaves has no root")
    level = [hashlib.sha256(LEAF + leaf).digest() for leaf in leaves]
    # Level by level gives the same tree as RFC 6962's split at the largest power of two: an odd
    # last node is carried up as it is.
    while len(level) > 1:
        pairs = [hashlib.sha256(NODE + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0].hex()
