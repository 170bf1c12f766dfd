"""The watch beside the writer: what is promoted, rolled back or approved while the service runs is opened here.

    models/live.json and its like      a new engine, built and tried off the writer's thread, swapped as a whole
    a change approved, or dated ahead  its set is opened and tried, so that no decision waits for it
    features built                     a large snapshot is read before decisions turn to it
    another set, another day           what was claimed for a campaign that says it no more is recalled

Which set is in force each transaction asks the ledger itself (`serving.changes.live`); the watch only sees to it
that the answer is at hand. Models that cannot be opened, or do not fit, leave the former engine in place: one line
in the log, `held_back` in /readyz and `nbo_models_held_back` in /metrics until they are mended.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import date

from sqlalchemy.engine import Connection

from serving.bids import bid_prices
from serving.changes.live import coming, current, sibling
from serving.claims import instant
from serving.decisions import decide_one
from serving.engine import Engine
from serving.http.messages import DecisionRequest
from serving.ledger.book import Ledger, LedgerError
from serving.ledger.changes import last_step
from serving.unnamed import recall_unnamed
from training.stamp import live_stamp

EVERY_SECONDS = 0.25
AGAIN_SECONDS = 30.0  # what could not be opened is tried again, though nothing says that it was mended
TRIED = 8  # customers
_log = logging.getLogger(__name__)


class Watch:
    """Looks every quarter of a second. `look` does so once, for whoever wants no thread.

    Args:
        engine: The engine that decides now.
        swap: Makes another one decide, from the next transaction on.
        stamp: `live_stamp` from before the first engine was opened; null: what it holds is not what is live.
    """

    def __init__(
        self, engine: Callable[[], Engine], ledger: Ledger, swap: Callable[[Engine], object], stamp: str | None
    ) -> None:
        self.held_back: str | None = None  # why what is live on disk does not decide; null: it does
        self._engine, self._ledger, self._swap, self._stamp = engine, ledger, swap, stamp
        self._failed: tuple[str, float] | None = None  # stamp of what could not be opened, when to try again
        self._step = -1
        self._recalled: tuple[str, date] | None = None  # the set and the bank's day for which was last recalled
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> "Watch":
        """Look until `stop`; itself. The first decision finds read and compiled what it needs."""
        try:
            self._look_at_snapshots()
            with self._ledger.read() as connection:
                tried(self._engine(), connection, self._ledger.now_micros())
        except Exception as error:  # noqa: BLE001  # opt-outs and outcomes are taken all the same
            _log.error("no decision can be made now: %s", _line(error))
        self._thread = threading.Thread(target=self._run, name="nbo-watch", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End; what is being opened is finished first."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Take what is new; LedgerError where the ledger cannot be read or written now: the next look tries again."""
        self._look_at_snapshots()
        self._look_at_models()
        self._look_at_sets()
        self._look_at_campaigns()

    def _run(self) -> None:
        waiting = False
        while not self._stopping.wait(EVERY_SECONDS):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001  # a full disk now: the former engine goes on, the next look tries again
                if not waiting:  # once, not four times a second of a long night
                    _log.warning("what is live cannot be looked at: %s", type(error).__name__)
                waiting = True
            else:
                waiting = False

    def _look_at_snapshots(self) -> None:
        self._engine().store.read_ahead(instant(self._ledger.now_micros()))

    def _look_at_models(self) -> None:
        stamp = live_stamp(self._engine().home.models)
        if stamp == self._stamp:
            self.held_back = None  # put back as it was
            return
        if self._failed is not None and self._failed[0] == stamp and time.monotonic() < self._failed[1]:
            return
        try:
            made = self._engine().with_live_models()
            with self._ledger.read() as connection:
                tried(made, connection, self._ledger.now_micros())
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001  # models that cannot decide are kept out, whatever it is
            line = _line(error)
            if line != self.held_back:
                _log.error("the models now live cannot be taken, the former ones go on deciding: %s", line)
            self.held_back, self._failed = line, (stamp, time.monotonic() + AGAIN_SECONDS)
            return
        self._swap(made)
        self._stamp, self.held_back, self._failed = stamp, None, None
        _log.info("decides by the models now live")

    def _look_at_sets(self) -> None:
        """Open what an approval has made ready, once a step was taken."""
        engine = self._engine()
        with self._ledger.read() as connection:
            if (step := last_step(connection)) == self._step:
                return
            for revision in coming(connection, self._ledger.now_micros()):
                if revision != engine.live_set and revision not in engine.siblings:
                    try:
                        tried(sibling(engine, connection, revision), connection, self._ledger.now_micros())
                    except LedgerError:
                        raise
                    except Exception as error:  # noqa: BLE001  # to activate it is refused with the same line
                        _log.warning("set %s does not fit this home: %s", revision[:12], _line(error))
        self._step = step

    def _look_at_campaigns(self) -> None:
        """Recall what is on its way in the name of a campaign that says it no more, once for each set and day."""
        now = self._ledger.now_micros()
        with self._ledger.read() as connection:
            engine = current(self._engine(), connection, now)
        holds = (engine.live_set, engine.day(instant(now)))
        if holds != self._recalled:
            recall_unnamed(engine, self._ledger, instant(now))
            self._recalled = holds


def tried(engine: Engine, connection: Connection, now: int) -> None:
    """Decide for a few of the bank's customers, reading only: what fails fails here, and the terms are compiled."""
    at = instant(now)
    snapshot = engine.snapshot(at)
    if snapshot is None:
        return
    ids, prices = snapshot.table.column("customer_id"), bid_prices(connection, engine.catalogue, now)
    for place in range(0, len(ids), max(len(ids) // TRIED, 1)):
        decide_one(engine, connection, DecisionRequest(customer_id=ids[place].as_py()), "trial", at, prices)


def _line(error: Exception) -> str:
    """What a refusal says; of an error nobody expected its kind alone, for its text may hold data of a customer."""
    return " ".join(str(error).split()) if isinstance(error, ValueError | OSError) else type(error).__name__
