"""What the service writes to its log: one JSON object a line, with no text of an exception and no id of a customer."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

OURS = ("nbo", "serving")  # loggers, and all below them


class Lines(logging.Formatter):
    """A record as one line of JSON: at, level, logger, message, and whatever `fields` the record was given."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end. An exception that was attached is left out: its text may name a customer."""
        told: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(told | getattr(record, "fields", {}), ensure_ascii=False)


def log_in_lines() -> None:
    """Send what we log to stderr as such lines, whatever the host process does with its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    for name in OURS:
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
