"""Changes as the ledger keeps them: texts by hash, whole sets of files, and the steps of every change.

Append-only. Each step is signed: an HMAC with the home's secret over its own fields and the signature of
the step before, so that none can be altered, left out or put in between. `rules.review` says what the steps
mean and which one may follow.
"""

import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.engine import Connection

from rules.liveset import Files, manifest_of, revision_of, text_sha256
from rules.review import Act, Actor, Kind, Step
from serving.ledger.errors import LedgerError
from serving.ledger.locks import Touches
from serving.ledger.records import fields_sha256
from serving.ledger.schema import change_steps, live_sets, texts
from serving.ledger.statement import Statement

CHANGES = Touches(names=("changes",))  # what every step holds alone
FIRST = "0" * 64  # the signature before the first step
_FIELDS = ("change_id", "act", "principal", "role", "kinds", "base", "target", "at", "effective_at", "passed", "note",
           "report", "previous")  # fmt: skip
_IN_FORCE = Statement(
    select(change_steps.c.target)
    .where(change_steps.c.effective_at.is_not(None), change_steps.c.effective_at <= bindparam("now"))
    .order_by(change_steps.c.effective_at.desc(), change_steps.c.step_id.desc()),
    "LIMIT 1",
)
_LAST = Statement(select(change_steps.c.signature).order_by(change_steps.c.step_id.desc()), "LIMIT 1")
_LAST_STEP = Statement(select(func.max(change_steps.c.step_id)))
_TEXT = Statement(insert(texts), "ON CONFLICT (sha256) DO NOTHING")
_SET = Statement(insert(live_sets), "ON CONFLICT (revision) DO NOTHING")


@dataclass(frozen=True, slots=True)
class Entry:
    """A step with what was said and found. report: JSON object as text, `{}` unless it is a check."""

    step: Step
    note: str
    report: str
    signature: str


def revision_in_force(connection: Connection, now: int) -> str | None:
    """The revision of the set in force at an instant; null: none was put into force yet."""
    row = _IN_FORCE.run(connection, now=now).fetchone()
    return None if row is None else str(row[0])


def last_step(connection: Connection) -> int:
    """Number of the last step there is; 0: none. Whoever remembers it knows whether anything was done since."""
    row = _LAST_STEP.run(connection).fetchone()
    return int(row[0] or 0) if row else 0


def keep_set(connection: Connection, files: Files) -> str:
    """Store a set of files; its revision. Equal files are stored once."""
    revision = revision_of(files)
    _TEXT.run_many(connection, [{"sha256": text_sha256(text), "body": text} for text in files.values()])
    _SET.run(connection, revision=revision, manifest=manifest_of(files))
    return revision


def files_of(connection: Connection, revision: str) -> dict[str, str]:
    """The files of a set; LedgerError where it is not stored, or a stored text is not what it was."""
    manifest = digests_of(connection, revision)
    wanted = sorted(set(manifest.values()))
    found = connection.execute(select(texts.c.sha256, texts.c.body).where(texts.c.sha256.in_(wanted)))
    bodies = {str(row.sha256): str(row.body) for row in found}
    files = {name: bodies.get(digest, "") for name, digest in manifest.items()}
    if revision_of(files) != revision:
        raise LedgerError(f"a text of the set `{revision[:12]}` is not what was stored; bring the ledger's backup back")
    return files


def digests_of(connection: Connection, revision: str) -> dict[str, str]:
    """File -> sha256 of its text, of a set; LedgerError where it is not stored."""
    row = connection.execute(select(live_sets.c.manifest).where(live_sets.c.revision == revision)).first()
    if row is None:
        raise LedgerError(f"there is no set `{revision[:12]}` in the ledger; name one that nbo rules list shows")
    manifest: dict[str, str] = json.loads(row[0])
    return manifest


def append(connection: Connection, secret: bytes, *, change_id: str, act: Act, actor: Actor, kinds: Iterable[Kind],
           base: str, target: str, at: int, effective_at: int | None = None, passed: bool | None = None,
           note: str = "", report: str = "{}") -> None:  # fmt: skip
    """Enter a step. Whether it may follow is `rules.review`'s to say, in the same transaction."""
    last = _LAST.run(connection).fetchone()
    row: dict[str, Any] = {
        "change_id": change_id, "act": str(act), "principal": actor.name, "role": actor.role,
        "kinds": json.dumps(sorted(kinds)), "base": base, "target": target, "at": at, "effective_at": effective_at,
        "passed": None if passed is None else int(passed), "note": note, "report": report,
        "previous": FIRST if last is None else str(last[0]),
    }  # fmt: skip
    row["signature"] = _signature(secret, [row[name] for name in _FIELDS])
    connection.execute(insert(change_steps).values(row))


def entries(connection: Connection, change_id: str | None = None) -> list[Entry]:
    """Every step, oldest first; of one change or of all."""
    query = select(change_steps).order_by(change_steps.c.step_id)
    query = query if change_id is None else query.where(change_steps.c.change_id == change_id)
    return [_entry(row) for row in connection.execute(query)]


def spoiled(connection: Connection) -> list[str]:
    """Hashes of the texts and sets that are not what their hash was taken of."""
    wrong = [str(sha) for sha, body in connection.execute(select(texts)) if text_sha256(body) != sha]
    sets = connection.execute(select(live_sets.c.revision, live_sets.c.manifest))
    return wrong + [str(revision) for revision, manifest in sets if text_sha256(manifest) != revision]


def unsigned(connection: Connection, secret: bytes) -> list[int]:
    """Numbers of the steps whose signature, or whose place in the chain, is not right."""
    wrong: list[int] = []
    previous = FIRST
    for row in connection.execute(select(change_steps).order_by(change_steps.c.step_id)).mappings():
        signed = _signature(secret, [row[name] for name in _FIELDS])
        if row["previous"] != previous or not hmac.compare_digest(signed, row["signature"]):
            wrong.append(row["step_id"])
        previous = row["signature"]
    return wrong


def _signature(secret: bytes, values: Sequence[Any]) -> str:
    return hmac.new(secret, b"change\0" + fields_sha256(values).encode(), sha256).hexdigest()


def _entry(row: Any) -> Entry:
    step = Step(
        step_id=row.step_id, change_id=row.change_id, act=Act(row.act), actor=Actor(row.principal, row.role),
        kinds=frozenset(Kind(kind) for kind in json.loads(row.kinds)), base=row.base, target=row.target, at=row.at,
        effective_at=row.effective_at, passed=None if row.passed is None else bool(row.passed))  # fmt: skip
    return Entry(step, row.note, row.report, row.signature)
