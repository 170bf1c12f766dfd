"""The loader under fire: whatever the bytes, a whole policy or one line of PolicyError; never half of one."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.cases import load_cases
from rules.column import columns_text, read_columns
from rules.document import did_you_mean, parse_document
from rules.errors import PolicyError, RulesError
from rules.policy import ContactPolicy, load_policy
from tests import bank

SHIPPED = (bank.POLICIES / "retail.yaml").read_bytes()
SMALL = b"".join(line for line in SHIPPED.splitlines(keepends=True)[:60])  # three whole rules and a bit
FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def whole_or_one_line(path: Path) -> None:
    try:
        policy = load_policy(path, bank.catalogue(), bank.feature_columns(bank.catalogue()))
    except RulesError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)
        return
    assert ContactPolicy.model_validate(parse_document(path.read_text("utf-8")).value) == policy
    assert len(policy.revision) == 64


@FUZZ
@given(st.data())
def test_mutated_bytes_of_the_shipped_policy_never_give_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    source = data.draw(st.sampled_from([SHIPPED, SMALL, SMALL, SMALL]))
    text = bytearray(source)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text) - 1))
        new = data.draw(st.one_of(st.binary(min_size=0, max_size=3), st.sampled_from(
            [b":", b"\n", b"- ", b"{", b"]", b"'", b"&a ", b"*a", b"!!x ", b"id", b" AND ", b">=", b"\t", b"\x00", b"999999999999"])))  # fmt: skip
        text[place : place + data.draw(st.integers(0, 12))] = new
    path = tmp_path / "p.yaml"
    path.write_bytes(bytes(text))
    whole_or_one_line(path)


@FUZZ
@given(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
def test_any_text_is_refused_in_one_line(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    with pytest.raises(PolicyError) as refused:
        load_policy(path)
    assert "\n" not in str(refused.value)


@FUZZ
@given(st.text(max_size=60), st.integers(0, 79))
def test_any_text_as_a_condition_or_a_case_is_refused_or_whole(tmp_path: Path, text: str, place: int) -> None:
    path = tmp_path / "p.yaml"
    quoted = "'" + text.replace("'", "''") + "'"
    path.write_text(SMALL.decode().replace("when: deceased\n", f"when: {quoted}\n"), "utf-8", errors="replace")
    whole_or_one_line(path)
    lines = (bank.POLICIES / "retail.cases.yaml").read_text("utf-8").splitlines(keepends=True)
    lines[place % len(lines)] = text + "\n"
    path.write_text("".join(lines[:80]), "utf-8", errors="replace")
    try:
        load_cases(path, bank.policy(), bank.catalogue(), bank.feature_columns(bank.catalogue()))
    except PolicyError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", [
    "a: " * 50, "a: [[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]", "? [x]\n: y", "{a: b, a: c}", "a: &x [*x]", "<<: {a: b}", "--- a\n--- b",
    "!!binary x", "%YAML 9.9\n--- a", "\ufeffid: x", "a: |\n  x\n b", "- " * 40, "\u2028", "{}", "id: retail\ntitle: {en: x, zh: x}\nsource: x\nrules: x",
])  # fmt: skip
def test_known_traps_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(PolicyError) as refused:
        load_policy(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("text", "said"), [
    ("", "1: is empty"), ("# nothing\n", "1: is empty"),
    ("a: b\n---\nc: d\n", "3: holds a second document; keep one"), ("a: b\n--- e\n", "2: holds a second document; keep one"),
    ("a:\n - x\n - b: 1\n   b: 2\n", "4: key `b` stands twice; remove one"), ("a: b\n? [x]\n: y\n", "2: a key must be a name"),
    ("a: b\nc: *d\n", "2: anchors (`&`, `*`) are not allowed; write the value out"),
    ("a:\n  " + "[" * 9_000, "2: is nested deeper than 20 levels"),
])  # fmt: skip
def test_what_is_refused_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_document(text)
    assert str(refused.value) == f"<text>:{said}"


def test_every_value_knows_its_line() -> None:
    document = parse_document("---\na:\n  - x\n  - {b: no, c: 08:00}\nd:\n")
    assert document.value == {"a": ["x", {"b": "no", "c": "08:00"}], "d": ""}
    assert document.lines == {
        (): 2, ("a",): 2, ("a", 0): 3, ("a", 1): 4, ("a", 1, "b"): 4, ("a", 1, "c"): 4, ("d",): 5}  # fmt: skip


def test_a_part_is_found_at_its_condition() -> None:
    document = parse_document("rules:\n  - id: a\n    when: x\n  - id: b\n")
    assert [document.line_of(name) for name in ("a", "b", "c")] == [3, 4, 1]


def test_the_nearest_right_name_is_named_or_none() -> None:
    assert did_you_mean("chanel", ["channel", "offer"]) == ": did you mean `channel`?"
    assert did_you_mean("zzz", ["channel", "offer"]) == ""


def test_a_columns_file_survives_being_read_and_written(tmp_path: Path) -> None:
    path = bank.POLICIES / "retail.columns.yaml"
    columns = read_columns(path)
    again = tmp_path / "columns.yaml"
    again.write_text(columns_text(columns), "utf-8")
    assert read_columns(again).equals(columns, check_metadata=True)
    again.write_text(columns_text(columns).replace("name: staff", "name: deceased"), "utf-8")
    with pytest.raises(PolicyError, match="column `deceased` stands twice"):
        read_columns(again)
