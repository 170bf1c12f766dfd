"""What the ledger refuses with, and the database's own errors in plain words.

ValueError
└── LedgerError           the ledger cannot do it now; nothing was kept; ask again (503)
├── DeadlineError     the caller's time ran out before the commit; nothing was kept
├── CrowdedError      too many requests wait already (429)
├── InDoubtError      the server went away during the commit; the same key tells
└── ClockError        the clock jumped; an operator has to look at it
ValueError
└── RowError              the row breaks a constraint of its table; sending it again won't help
"""

from sqlalchemy.exc import DBAPIError


class LedgerError(ValueError):
    """The ledger cannot do it now. Nothing was kept; the same request may be sent again."""


class DeadlineError(LedgerError):
    """The caller's time ran out before the commit. Nothing was kept."""


class CrowdedError(LedgerError):
    """Too many requests wait for the writer already; this one was not queued."""


class ClockError(LedgerError):
    """The clock went back or jumped ahead, so that counting contacts by it would open a cap."""


class InDoubtError(LedgerError):
    """The server went away during the commit: it may have been kept. Repeat with the same key."""


class RowError(ValueError):
    """A row breaks a constraint of its table. Nothing was kept; the same row will never pass."""


# The driver's own classes of what a row did wrong, and may not be sent again; everything else, a
# full disk, a server that shuts down, a circle of locks, may go well the next time.
_OF_THE_ROW = frozenset({"IntegrityError", "DataError", "ProgrammingError", "NotSupportedError"})


# Two workers wanted the same rows or locks: nothing is broken, and nobody has to see to anything.
_OF_COMPANY = frozenset({"DeadlockDetected", "SerializationFailure", "LockNotAvailable"})


def in_plain_words(error: Exception) -> Exception:
    """The database's own error as a LedgerError of one line without data; any other as it is."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not type(cause).__module__.startswith(("sqlite3", "psycopg")):
        return error
    # SQLite's texts name tables and states of the file, never values; PostgreSQL's may quote a row.
    is_embedded = type(cause).__module__.startswith("sqlite3")
    text = str(cause).splitlines()[0] if is_embedded else type(cause).__name__
    plain: Exception
    if type(cause).__name__ in _OF_COMPANY:
        plain = LedgerError(f"another worker was in the way ({text}); nothing was kept, ask again")
    elif _OF_THE_ROW.isdisjoint(kind.__name__ for kind in type(cause).__mro__):
        remedy = "see to the disk or the server, then ask again"
        plain = LedgerError(f"the ledger cannot be read or written ({text}); {remedy}")
    else:
        plain = RowError(f"the ledger refused a row ({text}); mend what was sent")
    plain.__cause__ = error
    return plain


def of_commit(error: Exception) -> Exception:
    """What a failed COMMIT means: nothing was kept, unless the server went away before it answered."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return InDoubtError(
            "the ledger's server went away during the commit, and whether it was kept is not known; repeat the"
            " request with the same Idempotency-Key"
        )
    return error
