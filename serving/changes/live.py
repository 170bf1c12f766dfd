"""What is in force: the engine of the live set, asked for inside the transaction that decides.

Until a bank decides for the first time its files are what holds. With the first decision, or the first list,
they become its first live set (`boot`); from then on the files are drafts, and the ledger says what holds.
"""

import threading

from sqlalchemy.engine import Connection

from features.home import Home
from rules.folder import SHIPPED
from rules.invariants import tellable_in
from rules.liveset import Files, files_in, laid_out, revision_of
from rules.review import Act, Actor, Kind, State, Step, in_force, standing, state_of, turns
from serving.engine import Engine
from serving.ledger import changes
from serving.ledger.book import Ledger

SIBLINGS_MAX = 16
COMING_MAX = 4
_OPENING = threading.Lock()  # one thread opens a set; the others wait and find it


def current(engine: Engine, connection: Connection, now: int) -> Engine:
    """The engine of the set in force in this transaction; the one given where nothing was put into force yet."""
    revision = changes.revision_in_force(connection, now)
    return engine if revision is None or revision == engine.live_set else sibling(engine, connection, revision)


def sibling(engine: Engine, connection: Connection, revision: str) -> Engine:
    """The engine of another set of the same home, in force or not, kept for the next time; LedgerError: unknown."""
    found = engine.siblings.get(revision)
    return opened(engine, changes.files_of(connection, revision)) if found is None else found


def coming(connection: Connection, now: int) -> list[str]:
    """Sets that may be in force with the next transactions: that of now, those dated ahead, the newest approved, the way back."""
    of: dict[str, list[Step]] = {}
    for entry in changes.entries(connection):
        of.setdefault(entry.step.change_id, []).append(entry.step)
    every = [step for steps in of.values() for step in steps]
    held = in_force(every, now)
    ahead = [turn.target for turn in turns(every) if (turn.effective_at or 0) > now]
    approved = [steps[0].target for steps in of.values() if state_of(steps) is State.APPROVED]
    back = [turn.target for turn in standing(every)[-2:-1]]
    return list(dict.fromkeys([*([held.target] if held else []), *ahead[:COMING_MAX], *approved[-COMING_MAX:], *back]))


def opened(engine: Engine, files: Files) -> Engine:
    """The engine of a set of files, kept for the next time; errors as in `Engine.open`."""
    revision = revision_of(files)
    with _OPENING:
        found = engine.siblings.get(revision)
        if found is None:
            with laid_out(files) as folder:
                found = engine.with_files(folder, revision)
            while len(engine.siblings) >= SIBLINGS_MAX:
                engine.siblings.pop(next(iter(engine.siblings)))
            engine.siblings[revision] = found
    return found


def open_engine(home: Home, ledger: Ledger) -> Engine:
    """The engine of what is in force in the ledger, whatever the home's files say; of the files before the first set."""
    with ledger.read() as connection:
        revision = changes.revision_in_force(connection, ledger.now_micros())
        files = None if revision is None else changes.files_of(connection, revision)
    if files is None:
        return Engine.open(home)
    with laid_out(files) as folder:
        return Engine.open(home, folder)


def tellable(engine: Engine, connection: Connection, now: int) -> tuple[str, ...]:
    """The facts a customer may be told, as the invariants in force say; a home without its own has the shipped ones."""
    revision, name = changes.revision_in_force(connection, now), f"{engine.policy.id}.invariants.yaml"
    files = files_in(engine.home.path) if revision is None else changes.files_of(connection, revision)
    shipped = SHIPPED / name
    text = files.get(f"policies/{name}") or (shipped.read_text("utf-8") if shipped.is_file() else "tellable: []")
    return tellable_in(text)


def boot(engine: Engine, ledger: Ledger, operator: str) -> bool:
    """Put the home's files into force unless a set is; whether this did it. Nobody has approved them yet."""
    with ledger.read() as connection:
        if changes.revision_in_force(connection, ledger.now_micros()) is not None:
            return False
    files = files_in(engine.home.path)

    def task(connection: Connection) -> bool:
        now = ledger.now_micros()
        if changes.revision_in_force(connection, now) is not None:
            return False  # another process was sooner
        revision = changes.keep_set(connection, files)
        changes.append(connection, ledger.secret, change_id="first", act=Act.BOOT, actor=Actor(operator, "admin"),
                       kinds=frozenset(Kind), base=revision, target=revision, at=now, effective_at=now)  # fmt: skip
        return True

    return ledger.write(task, touches=changes.CHANGES).result()


def drafts(engine: Engine, connection: Connection, now: int) -> list[str]:
    """Names of the home's files that say something else than what is in force."""
    revision, here = changes.revision_in_force(connection, now), files_in(engine.home.path)
    if revision is None or revision == revision_of(here):
        return []
    live = changes.files_of(connection, revision)
    return sorted(name for name in {*live, *here} if live.get(name) != here.get(name))
