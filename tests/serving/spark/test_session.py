"""Java is looked for, and what is missing is one line."""

from pathlib import Path

import pytest

from serving.spark import session as module
from serving.spark.session import SparkError, find_java, java_version


def fake(home: Path, version: str) -> Path:
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-01' >&2\n")
    java.chmod(0o755)
    return home


def test_a_java_says_its_version(tmp_path: Path) -> None:
    assert java_version(fake(tmp_path / "a", "17.0.15")) == 17
    assert java_version(fake(tmp_path / "b", "1.8.0_292")) == 1
    assert java_version(tmp_path) is None


@pytest.mark.parametrize(("version", "line"), [(None, "where no bin/java answers; set it to a Java 17"), ("11.0.2", "a Java 11; Spark needs 17")])  # fmt: skip
def test_a_wrong_java_home_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, line: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake(tmp_path / "j", version) if version else tmp_path / "j"))
    with pytest.raises(SparkError, match=line):
        find_java()


def test_java_home_is_believed_and_the_path_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake(tmp_path / "j", "21")))
    assert find_java() == tmp_path / "j"
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(fake(tmp_path / "k", "17") / "bin") + ":/bin:/usr/bin")
    assert find_java() == tmp_path / "k"


def test_no_java_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(module, "java_version", lambda _: None)
    with pytest.raises(
        SparkError, match="Java 17 is needed by engine `spark` and was not found; install it, or set JAVA_HOME to it"
    ):
        find_java()


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SparkError, match="package `pyspark` is missing"), module.session():
        pass
