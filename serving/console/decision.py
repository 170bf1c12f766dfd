"""One decision: the record, what decided, why, the same bytes once more, and the proof that its seal is whole."""

from typing import Any

from sqlalchemy.engine import Connection
from starlette.responses import Response

from serving.account import AccountError
from serving.commands.audit_verify import VerifyAnswer
from serving.console.grid import grid
from serving.console.visit import Visit
from serving.engine import Engine
from serving.http.messages import DecisionRecordResponse
from serving.http.messages.reading import MessageError, read_id
from serving.ledger import records
from serving.ledger.proof import proof_of_decision
from serving.ledger.vault import ErasedError, PayloadError
from serving.replay import ReplayError, replayed


def search(visit: Visit) -> Response:
    """One box, the latest decisions, and the whole ledger's verification."""
    wanted = visit.asked("id")
    problem = ""
    if wanted:
        try:
            return visit.go(f"/console/decisions/{read_id(wanted)}")
        except MessageError:
            problem = visit.t("That is no decision's id.")
    job = visit.house.jobs.look(visit.asked("job")) if visit.asked("job") else visit.house.jobs.last("verify")
    told = VerifyAnswer.model_validate(job.answer) if job and job.answer else None
    latest = visit.read(lambda _, connection: records.latest(connection, 20))
    return visit.page(
        "decisions.html",
        422 if problem else 200,
        what="decision",
        problem=problem,
        job=job,
        verified=told,
        latest=latest,
    )


def decision(visit: Visit) -> Response:
    """The page of one decision."""
    name = read_id(visit.path("decision"))
    record: DecisionRecordResponse = visit.ask("GET /v1/decisions/{decision_id}", name)
    why = visit.ask("GET /v1/decisions/{decision_id}/why", name)

    def found(engine: Engine, connection: Connection) -> dict[str, Any]:
        row = records.find(connection, name)
        assert row is not None  # the door has found it
        same: bool | None
        try:
            same, unsaid = replayed(engine, connection, row), ""
        except (ReplayError, ErasedError, PayloadError, AccountError) as error:
            same, unsaid = None, str(error)
        return {
            "same": same, "unsaid": unsaid, "proof": proof_of_decision(connection, engine.vault.keyring, name, record.row_sha256),
            "grid": grid(engine.catalogue, [cell for cell in why.cells if cell.offer_id in engine.catalogue.offer_index], lambda cell: cell.reasons),
            "offers": {o.id: o for o in engine.catalogue.offers}, "channels": {c.id: c.title for c in engine.catalogue.channels},
        }  # fmt: skip

    return visit.page("decision.html", record=record, why=why, **visit.read(found))


def verify(visit: Visit) -> Response:
    """Check every record of the ledger."""
    return visit.go(f"/console/jobs/{visit.house.jobs.start('verify', {}, visit.principal.name)}")
