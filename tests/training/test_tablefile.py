from datetime import date
from pathlib import Path

import polars as pl
import pytest

from training.errors import DatasetError
from training.tablefile import need_columns, read_table, write_table

FRAME = pl.DataFrame({"name": ["a, b", "c; d", "e"], "n": [1, 2, 3], "x": [0.5, None, -1.5],
                      "on": [date(2025, 1, 31), date(2025, 2, 28), None], "yes": [True, False, True]})  # fmt: skip


@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_the_delimiter_is_found_and_types_are_read(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "t.csv"
    FRAME.write_csv(path, separator=delimiter)
    assert read_table(path).equals(FRAME)


def test_a_decimal_comma_is_a_number_beside_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b;c\n1,5;2,x;7\n-2,25;3;8\n")
    assert read_table(path).to_dict(as_series=False) == {"a": [1.5, -2.25], "b": ["2,x", "3"], "c": [7, 8]}


def test_words_for_nothing_are_null_and_unknown_is_a_word(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\nNA,unknown\n,x\nNaN,y\n1,z\n")
    frame = read_table(path)
    assert frame["a"].to_list() == [None, None, None, 1] and frame["b"][0] == "unknown"


def test_parquet_is_known_by_its_bytes(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv").equals(FRAME)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "`t.csv` is empty; give a Parquet or CSV file with a header and rows"),
        (b" \n\n", "`t.csv` is empty; give a Parquet or CSV file with a header and rows"),
        (b"a,b\n", "`t.csv` has a header and no row; there is nothing to learn from"),
        (b"a,b,a\n1,2,3\n", "column `a` occurs twice in `t.csv`; give each column a name of its own"),
        (b"a,b\n1,2\n1,2,3,4\n", "`t.csv` is no CSV in UTF-8 with one length of row"),
        (b"a,b\n\0\1,2\n", "`t.csv` is neither Parquet nor text; give a Parquet or CSV file"),
        (b"PAR1 but no more", "`t.csv` is a damaged Parquet file"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DatasetError) as error:
        read_table(tmp_path / "t.csv")
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DatasetError, match=r"no file `.*`; give a Parquet or CSV file"):
            read_table(path)


@pytest.mark.parametrize(("name", "near"), [("lable", "label"), ("LABEL", "label"), ("customer", "customer_id")])
def test_a_missing_column_gets_the_nearest_right_name(name: str, near: str) -> None:
    frame = pl.DataFrame({"label": [1], "customer_id": [2]})
    with pytest.raises(DatasetError, match=f"^no column `{name}` in t.csv; did you mean `{near}`\\?$"):
        need_columns(frame, [name], "t.csv")


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    for name in ("out.csv", "out.parquet"):
        write_table(FRAME, tmp_path / name)
        assert read_table(tmp_path / name).equals(FRAME)
    nested = pl.DataFrame({"a": [[1, 2]]})
    (tmp_path / "kept.csv").write_text("before")
    with pytest.raises(Exception, match=r"nested|CSV"):
        write_table(nested, tmp_path / "kept.csv")
    assert (tmp_path / "kept.csv").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.csv", "out.csv", "out.parquet"]
    with pytest.raises(DatasetError, match="cannot write"):
        write_table(FRAME, tmp_path / "none" / "out.csv")


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_an_id_keeps_its_leading_zeros(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(delimiter.join(("id", "n")) + "\n" + "".join(f"00{i}{delimiter}{i}\n" for i in range(3)))
    assert read_table(path, ["id", "other"]).to_dict(as_series=False) == {"id": ["000", "001", "002"], "n": [0, 1, 2]}
    assert read_table(path)["id"].to_list() == [0, 1, 2]
