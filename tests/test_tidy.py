"""Bans of our own, kept by a test: size only shrinks, tables of words match, nothing foreign is named."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("rules", "features", "training", "serving", "simulation")
SOURCES = sorted([*(p for room in ROOMS for p in (ROOT / room).rglob("*.py")), ROOT / "nbo.py", ROOT / "demo.py"])
FILE_LINES_MAX, FUNCTION_LINES_MAX = 400, 70
BANNED = {
    r"\bpickle\.(load|loads)\b": "no pickle is ever loaded; text and JSON are what we read",
    r"\bdatetime\.utcnow\(": "naive instants lie; use datetime.now(UTC)",
    r"\byaml\.(safe_load|load)\((?!text, _StrictLoader)": "YAML guesses; use rules.document or features.settings",
    r"https?://(?!127\.0\.0\.1|\{|localhost)[a-z0-9]": "no page of ours fetches or names a host",
    r"(minor|worth|value|price)\w*\)? / 100\b": "not every currency has hundredths; rules.money says an amount",
    r"\bTODO\b": "an open end belongs into an issue",
}  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= FILE_LINES_MAX
    long = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX]  # fmt: skip
    assert long == []


@pytest.mark.parametrize("pattern", BANNED, ids=lambda p: p[:24])
def test_banned_words_do_not_occur(pattern: str) -> None:
    found = [f"{path.relative_to(ROOT)}:{number}: {BANNED[pattern]}" for path in SOURCES
             for number, line in enumerate(path.read_text("utf-8").splitlines(), 1) if re.search(pattern, line)]  # fmt: skip
    assert found == []


def test_every_public_name_has_a_docstring() -> None:
    bare = []
    for path in SOURCES:
        tree = ast.parse(path.read_text("utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_") \
                    and not ast.get_docstring(node):  # fmt: skip
                bare.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert bare == []


def test_the_locks_name_no_host() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text("utf-8")
        assert "://" not in text
        assert "--hash=sha256:" in text


def test_every_command_of_the_readme_exists() -> None:
    from typer.main import get_command

    import nbo

    commands = get_command(nbo.app)
    names = set(re.findall(r"\bnbo (?:--home \w+ )?([a-z]+)\b", (ROOT / "README.md").read_text("utf-8")))
    known = set(getattr(commands, "commands", {}))
    assert names - {"py"} <= known, names - known
