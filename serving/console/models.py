"""Models: champion and challenger beside each other, what the gate says of each, and what came since."""

from typing import Any

from sqlalchemy.engine import Connection
from starlette.responses import Response

from serving.console.visit import Visit
from serving.engine import Engine
from training.bundle import Manifest
from training.errors import GateError
from training.gate import gate


def models(visit: Visit) -> Response:
    """Every live model."""

    def found(engine: Engine, connection: Connection) -> dict[str, Any]:
        rivals = engine.live.duel.challenges if engine.live.duel else {}
        told: list[dict[str, Any]] = []
        for name, bundle in engine.live.models.bundles.items():
            pair = [("champion", bundle.sha256, bundle.manifest)]
            if engine.live.duel and name in rivals:
                rival = engine.live.duel.challengers.bundles[name]
                pair.append(("challenger", rival.sha256, rival.manifest))
            told.append(
                {
                    "name": name,
                    "challenge": rivals.get(name),
                    "pair": [
                        (who, sha, one, _gate(one, bundle.manifest if who == "challenger" else None))
                        for who, sha, one in pair
                    ],
                }
            )
        return {
            "models": told,
            "missing": engine.live.models.missing,
            "damaged": engine.live.damaged,
            "mlflow": engine.home.settings.mlflow_ui,
        }

    jobs = visit.house.jobs
    job = jobs.look(visit.asked("job")) if visit.asked("job") else jobs.last("models")
    measured = {one["state"]["name"]: one for one in job.answer["models"]} if job and job.answer else {}
    return visit.page("models.html", job=job, measured=measured, **visit.read(found))


def measure(visit: Visit) -> Response:
    """Measure them on what came since."""
    return visit.go(f"/console/jobs/{visit.house.jobs.start('models', {}, visit.principal.name)}")


def _gate(manifest: Manifest, live: Manifest | None) -> tuple[bool, list[str]]:
    """(whether it passes, the lines why)."""
    try:
        return True, gate(manifest, live).split("; ")
    except GateError as error:
        return False, [str(error)]
