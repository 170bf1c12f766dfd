"""The errors that a Door may raise, and what each error of the ledger is to a caller.

    Exception
    └── DoorError              status, code and one line for the caller
        ├── BadRequest         400  does not make sense      (Unprocessable 422: not here, not now)
        ├── Forbidden          403  this key may not
        ├── NotFound           404  no such contact or decision
        ├── Conflict           409  the state forbids it
        ├── Busy               429  too many requests at once
        ├── Unavailable        503  the ledger cannot be written: nothing happened
        └── TooLate            504  the deadline passed before the commit: nothing happened

Messages name no customer and echo no id.
"""

from typing import ClassVar

from rules.review import ReviewError
from serving.ledger.contact import LifecycleError
from serving.ledger.errors import CrowdedError, DeadlineError, InDoubtError, LedgerError, RowError
from serving.ledger.idempotency import ConflictError
from serving.ledger.switches import SwitchError


class DoorError(Exception):
    """An answer other than 2xx. `message` is one line: what, where, remedy; no ids."""

    status: ClassVar[int] = 500
    code: str = "internal"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code


class BadRequest(DoorError):
    """The request does not make sense."""

    status, code = 400, "bad_request"


class Unprocessable(BadRequest):
    """The request is well formed but does not fit the catalogue, the clock or the stored answer."""

    status, code = 422, "unprocessable"


class Forbidden(DoorError):
    """The key may not do this, here."""

    status, code = 403, "forbidden"


class NotFound(DoorError):
    """There is no such contact or decision."""

    status, code = 404, "not_found"


class Conflict(DoorError):
    """The state of what was asked about forbids it."""

    status, code = 409, "conflict"


class Busy(DoorError):
    """Too many requests at once; come back with the same Idempotency-Key."""

    status, code = 429, "busy"


class Unavailable(DoorError):
    """The ledger cannot be written; nothing happened."""

    status, code = 503, "unavailable"


class TooLate(DoorError):
    """The deadline passed before the commit; nothing happened."""

    status, code = 504, "deadline_passed"


def as_door_error(error: BaseException) -> DoorError | None:
    """The answer to an error of the ledger; null for an error nobody expected."""
    match error:
        case DoorError():
            return error
        case LifecycleError():
            return Conflict(str(error)) if error.state else NotFound(str(error))
        case ConflictError():
            return Unprocessable(str(error), code="key_reused")
        case ReviewError():
            return Forbidden(str(error)) if error.forbidden else Conflict(str(error))
        case SwitchError():
            return Conflict(str(error))
        case DeadlineError():
            return TooLate(str(error))
        case CrowdedError():
            return Busy(str(error))
        case InDoubtError():
            return Unavailable(str(error), code="outcome_unknown")
        case LedgerError():
            return Unavailable(str(error))
        case RowError():
            return Unprocessable(str(error))
        case _:
            return None
