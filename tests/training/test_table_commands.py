"""`nbo train table` from the front door: one JSON object, exit codes, predictions, nothing written when refused."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest

import nbo
from tests.training.test_table import customers


def run(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["nbo", "train", "table", *arguments])
    monkeypatch.setattr(nbo, "give_way", lambda command: None)
    with pytest.raises(SystemExit) as ended:
        nbo.main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_a_csv_gives_one_json_object_and_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pl.from_pandas(customers(300)).rename({"flag": "duration"})
    frame.write_csv(tmp_path / "t.csv", separator=";")
    out = tmp_path / "scores.parquet"
    asked = [str(tmp_path / "t.csv"), "--label", "y", "--id", "id", "--drop", "late, on", "--predictions", str(out),
             "--trials", "1", "--seed", "7", "--json"]  # fmt: skip
    code, said, told = run(asked, monkeypatch, capsys)
    assert code == 0 and said.count("\n") == 1
    report = json.loads(said)
    assert report["seed"] == 7 and report["trials"] == 1 and report["predictions"] == str(out)
    assert [alarm["kind"] for alarm in report["alarms"]] == ["after_contact"]  # rings, and exit 0 all the same
    assert told.lstrip().startswith("ALARM `duration` is by its name known only after the contact")
    scores = pl.read_parquet(out)
    assert scores.columns == ["id", "part", "score"] and scores["id"].to_list() == frame["id"].to_list()
    assert scores["score"].is_between(0, 1).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--label", "lable"], "no column `lable` in the table; did you mean `late`?"),
        (["--label", "y", "--id", "word"], "id `word` repeats"),
        (["--label", "y", "--treatment", "word"], "treatment `word` has 3 values, expected two"),
        (["--label", "y", "--test", "none.csv"], "no file `none.csv`; give a Parquet or CSV file"),
        (["--label", "word"], "label `word` has 3 values, expected two"),
    ],
)
def test_bad_input_is_exit_2_one_line_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    pl.from_pandas(customers(200)).write_parquet(tmp_path / "t.parquet")
    out = tmp_path / "scores.csv"
    asked = [str(tmp_path / "t.parquet"), *arguments, "--predictions", str(out), "--json"]
    code, printed, told = run(asked, monkeypatch, capsys)
    assert code == 2 and printed == "" and said in told and told.strip().count("\n") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_a_folder_that_is_not_there_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.from_pandas(customers(200)).write_parquet(tmp_path / "t.parquet")
    asked = [str(tmp_path / "t.parquet"), "--label", "y", "--predictions", str(tmp_path / "none" / "p.csv")]
    code, _, told = run(asked, monkeypatch, capsys)
    assert code == 2 and "no folder" in told
