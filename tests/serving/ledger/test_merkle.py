"""The root is RFC 6962's: its published vectors, and the recursion of the standard on generated leaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.ledger.merkle import merkle_root
from tests.seal_oracle import tree

LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("n", ROOTS)
def test_root_is_that_of_the_published_vectors(n: int) -> None:
    assert merkle_root([bytes.fromhex(leaf) for leaf in LEAVES[:n]]) == ROOTS[n]


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=70))
def test_root_is_that_of_the_recursion(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == tree(leaves).hex()


@given(st.lists(st.binary(max_size=4), min_size=2, max_size=20), st.data())
def test_p05_another_leaf_another_order_or_another_number_is_another_root(
    leaves: list[bytes], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(leaves) - 1))
    changed = [*leaves[:place], leaves[place] + b"x", *leaves[place + 1 :]]
    assert merkle_root(changed) != merkle_root(leaves)
    assert merkle_root(leaves[:-1]) != merkle_root(leaves)
    if leaves[::-1] != leaves:
        assert merkle_root(leaves[::-1]) != merkle_root(leaves)


def test_a_tree_without_leaves_has_no_root() -> None:
    with pytest.raises(ValueError, match="no root"):
        merkle_root([])
