"""Containerfile and compose.yaml as far as can be checked without a container engine: names, paths, commands, secrets."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

import nbo

ROOT = Path(nbo.__file__).parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
LINES = [line for line in (ROOT / "Containerfile").read_text("utf-8").splitlines() if line and not line.startswith("#")]


def of(word: str) -> list[str]:
    return [line.removeprefix(word).strip() for line in LINES if line.startswith(f"{word} ")]


def commands() -> list[list[str]]:
    """Every command of an image or service, a shell's one by one."""
    found = [yaml.safe_load(line) for line in of("CMD")] + [
        one["command"] for one in COMPOSE["services"].values() if "command" in one
    ]
    found += [
        one["healthcheck"]["test"][1:] for one in COMPOSE["services"].values() if one["healthcheck"]["test"][0] == "CMD"
    ]
    shells = [re.findall(r"nbo [^;]+", words[2]) for words in found if words[0] == "sh"]
    return [words for words in found if words[0] != "sh"] + [shlex.split(line) for lines in shells for line in lines]


def test_every_path_that_is_copied_is_there_and_is_let_in() -> None:
    let_in = (ROOT / ".dockerignore").read_text("utf-8").split()
    copied = [path for line in of("COPY") if not line.startswith("--from=") for path in line.split()[:-1]]
    assert {"requirements.lock", "rules", "serving"} <= set(copied)
    for path in copied:
        assert (ROOT / path).exists(), path
        assert f"!{path}" in let_in, path


@pytest.mark.parametrize("words", [w for w in commands() if w[0] == "nbo"], ids=" ".join)
def test_every_nbo_command_and_option_is_a_real_one(words: list[str]) -> None:
    at: Any = get_command(nbo.app)
    rest = words[1:]
    while rest and hasattr(at, "commands"):
        assert rest[0] in at.commands, words
        at, rest = at.commands[rest[0]], rest[1:]
    options = {name for parameter in at.params for name in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options, words


def test_mlflow_takes_what_it_is_told() -> None:
    from mlflow.cli import cli

    [words] = [w for w in commands() if w[0] == "mlflow"]
    known = {name for parameter in cli.commands["server"].params for name in parameter.opts}
    assert words[1] == "server" and {w for w in words[2:] if w.startswith("--")} <= known


def test_the_image_is_pinned_hashed_and_runs_as_nobody_special() -> None:
    assert all(re.search(r":\d[\w.]*-", line.split(" AS ")[0]) for line in of("FROM")), "a tag that moves"
    assert int(of("USER")[-1]) >= 10_000
    installs = [line for line in of("RUN") if "pip install" in line]
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    assert all(
        "--no-install-recommends" in line and "rm -rf /var/lib/apt/lists" in line
        for line in of("RUN")
        if "apt-get install" in line
    )
    assert (
        not of("ADD")
        and yaml.safe_load(of("CMD")[0])[0] == "nbo"
        and any(line.startswith("HEALTHCHECK") for line in LINES)
    )


def test_services_are_healthy_pinned_and_hold_no_secret() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"database", "service", "scheduler", "mlflow"}
    for name, one in services.items():
        assert one["healthcheck"]["test"] and one["restart"] == "unless-stopped", name
        assert re.search(r":\d", one["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", [])), name
        assert not any(
            re.search(r"password|secret|key", k, re.I) and not k.endswith("_FILE") for k in one["environment"]
        ), name
        assert set(one["secrets"]) <= set(COMPOSE["secrets"]), name
        assert {volume.split(":")[0] for volume in one["volumes"]} <= set(COMPOSE["volumes"]), name
    for name in set(services) - {"database"}:
        assert services[name]["read_only"] and services[name]["cap_drop"] == ["ALL"], name
    assert all(
        services[n]["depends_on"]["database"]["condition"] == "service_healthy" for n in ("service", "scheduler")
    )
    assert not re.search(r"://\w+:[^@\s/]+@", (ROOT / "compose.yaml").read_text("utf-8"))
    assert "secrets/" in (ROOT / ".gitignore").read_text("utf-8").split()
