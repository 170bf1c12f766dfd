"""A live set of files: its name, its patches, and what is none of its files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.errors import PolicyError
from rules.liveset import check_name, files_in, patch_of, patched, revision_of, write_files

NAMES = ("catalogue.yaml", "policies/a.yaml", "policies/a.cases.yaml", "campaigns/b.yaml")
FILES = st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20))


@given(FILES, FILES)
def test_a_patch_makes_the_one_set_into_the_other(before: dict[str, str], after: dict[str, str]) -> None:
    assert patched(before, patch_of(before, after)) == after
    assert (revision_of(before) == revision_of(after)) == (before == after)


def test_files_are_kept_byte_for_byte(tmp_path: Path) -> None:
    files = {"catalogue.yaml": "a\r\nb\n", "policies/retail.yaml": "规则：x", "campaigns/summer-2.yaml": ""}
    write_files(files, tmp_path)
    assert files_in(tmp_path) == files
    assert (tmp_path / "catalogue.yaml").read_bytes() == b"a\r\nb\n"


@pytest.mark.parametrize("name", ["../x.yaml", "policies/../../x.yaml", "/etc/x.yaml", "policies/a.yml", "bank.yaml", "policies/.a.yaml",
                                  "models/live.json", "policies/a/b.yaml", "catalogue.yaml\n", "policies/" + "a" * 81 + ".yaml"])  # fmt: skip
def test_no_file_outside_the_set_is_named(name: str) -> None:
    for refused in (lambda: check_name(name), lambda: patched({}, {name: "x"})):
        with pytest.raises(PolicyError, match="is no file of a live set"):
            refused()


def test_a_file_too_large_is_refused() -> None:
    with pytest.raises(PolicyError, match="more than 1,000,000 characters"):
        patched({}, {"catalogue.yaml": "x" * 1_000_001})
