"""A PostgreSQL database for one test."""

import uuid
from collections.abc import Generator

import psycopg
import pytest

SERVER = "host=127.0.0.1 user=postgres dbname={} connect_timeout=2"


@pytest.fixture
def server() -> Generator[str]:
    """SQLAlchemy URL of a new, empty database; dropped after the test."""
    name = f"features_{uuid.uuid4().hex[:12]}"
    try:
        admin = psycopg.connect(SERVER.format("postgres"), autocommit=True)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL on 127.0.0.1:5432; start one with user postgres and trust")
    with admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        yield f"postgresql+psycopg://postgres@127.0.0.1:5432/{name}"
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    admin.close()
