"""A PostgreSQL database of one's own for a test, on the server that CI starts; elsewhere the test skips."""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

SERVER = "postgresql://postgres@127.0.0.1:5432/{}"


@contextmanager
def database(template: str | None = None) -> Generator[str]:
    """SQLAlchemy URL of a new database, empty or a copy of another; dropped afterwards."""
    try:
        admin = psycopg.connect(SERVER.format("postgres"), autocommit=True)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL on 127.0.0.1:5432; start one with user postgres and trust")
    name = f"nbo_test_{os.getpid()}_{secrets.token_hex(4)}"
    try:
        admin.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        yield f"postgresql+psycopg://postgres@127.0.0.1:5432/{name}"
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        admin.close()


def move_home(home: Path, url: str) -> None:
    """Keep the home's ledger at the URL from now on; a new one there is seeded when it is opened."""
    bank = home / "bank.yaml"
    lines = [line for line in bank.read_text("utf-8").splitlines() if not line.startswith("database:")]
    bank.write_text("\n".join([*lines, f"database: {url}", ""]), "utf-8")


def plain(url: str) -> str:
    """The URL as the bare driver takes it."""
    return url.replace("+psycopg", "")
