"""P26: the log is lines of JSON that name no customer, whatever was raised."""

import io
import json
import logging

import pytest

from serving.logs import OURS, log_in_lines


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is logged while the test runs; the loggers are as before afterwards."""
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    for name in OURS:
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", list(logger.handlers))
        monkeypatch.setattr(logger, "propagate", logger.propagate)
        monkeypatch.setattr(logger, "level", logger.level)
    log_in_lines()
    return out


def test_a_record_is_one_object_with_its_fields(lines: io.StringIO) -> None:
    logging.getLogger("nbo.http").error(
        "route `%s` failed", "POST /v1/decisions", extra={"fields": {"place": "a.py:1"}}
    )
    logging.getLogger("serving.sealer").warning("records wait")
    first, second = map(json.loads, lines.getvalue().splitlines())
    assert (first["level"], first["logger"], first["message"]) == (
        "error",
        "nbo.http",
        "route `POST /v1/decisions` failed",
    )
    assert first["place"] == "a.py:1" and first["at"].endswith("+00:00")
    assert second["logger"] == "serving.sealer"


def test_p26_the_text_of_an_exception_stays_out(lines: io.StringIO) -> None:
    try:
        raise ValueError("C0000001 was here")
    except ValueError:
        logging.getLogger("nbo.http").exception("it failed")
    [line] = lines.getvalue().splitlines()
    assert json.loads(line)["message"] == "it failed" and "C0000001" not in line


def test_a_message_of_several_lines_is_one(lines: io.StringIO) -> None:
    logging.getLogger("nbo.streams").warning("one\ntwo")
    assert len(lines.getvalue().splitlines()) == 1
