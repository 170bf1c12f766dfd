"""A list: its funnel, its proof, whom it names; and its files to take away."""

import re
from typing import Any

import pyarrow.parquet as pq
from sqlalchemy.engine import Connection
from starlette.responses import FileResponse, Response

from serving.console.campaigns import titles
from serving.console.house import SECURITY_HEADERS
from serving.console.visit import ROWS, Visit
from serving.engine import Engine
from serving.http.errors import Forbidden, NotFound
from serving.ledger.keys import Role
from serving.lists.figures import Report
from serving.lists.files import read_manifest
from serving.lists.recalls import FILE as RECALLS
from serving.rechecking import recall_file

NAMES_CUSTOMERS = re.compile(r".*\.(csv|parquet)")  # whoever takes these away takes customers' names away
OFFERS = (
    "customer_id",
    "offer_id",
    "channel",
    "expected_value_minor",
    "p_accept",
    "send_after",
    "send_before",
    "campaign_id",
)
_RUN = re.compile(r"\d{8}T\d{6}Z-[a-z0-9_+-]{1,80}")


def run(visit: Visit) -> Response:
    """One list."""
    name = _run(visit)

    def found(engine: Engine, connection: Connection) -> dict[str, Any]:
        folder = engine.home.lists / name
        if not (folder / "manifest.json").is_file():
            raise NotFound("there is no such list; the page Campaigns names them")
        manifest = read_manifest(folder)
        page = visit.paged(manifest.funnel.chosen)
        return {"manifest": manifest, "report": Report.model_validate_json((folder / "report.json").read_bytes()), "paged": page,
                "rows": _rows(folder / "offers.parquet", page.start) if visit.role in (Role.MARKETING, Role.ADMIN) else None,
                "titles": titles(engine), "offers": {o.id: o.title for o in engine.catalogue.offers}, "channels": {c.id: c.title for c in engine.catalogue.channels}}  # fmt: skip

    told = visit.read(found)
    files = [file for file in told["manifest"].files if _may_take(visit, file)]
    return visit.page("list.html", files=files, may_recall=visit.role in (Role.MARKETING, Role.ADMIN), **told)


def download(visit: Visit) -> Response:
    """A file of a list as it was written; `recalls.csv` as of now; the report to be read here."""
    name, file = _run(visit), visit.path("file")
    folder = visit.house.office.engine.home.lists / name
    if not (folder / "manifest.json").is_file():
        raise NotFound("there is no such list; the page Campaigns names them")
    if not _may_take(visit, file):
        raise Forbidden("this file names customers; marketing takes it away")
    if file == RECALLS:
        engine = visit.read(lambda engine, _: engine)
        recall_file(engine, visit.house.office.ledger, name)
    elif file != "manifest.json" and file not in read_manifest(folder).files:
        raise NotFound("the list has no such file; its page names them")
    if file == "report.html":  # a page of our own without a script, whose styles stand in it
        policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox allow-same-origin"
        return FileResponse(
            folder / file, headers=SECURITY_HEADERS | {"Content-Security-Policy": policy}, media_type="text/html"
        )
    return FileResponse(folder / file, headers=SECURITY_HEADERS, filename=f"{name}-{file}")


def _run(visit: Visit) -> str:
    name = visit.path("run")
    if not _RUN.fullmatch(name):
        raise NotFound("there is no such list; the page Campaigns names them")
    return name


def _may_take(visit: Visit, file: str) -> bool:
    return visit.role in (Role.MARKETING, Role.ADMIN) or not NAMES_CUSTOMERS.fullmatch(file)


def _rows(path: Any, start: int) -> list[dict[str, Any]]:
    """The rows of one page, out of the few row groups they stand in."""
    return pq.read_table(path, columns=list(OFFERS), memory_map=True).slice(start, ROWS).to_pylist()
