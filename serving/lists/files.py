"""Lists: what a run hands over - offers, control and suppressed tables, manifest, certificate, report.

Written beside and renamed: a list is there whole or not at all. The same run twice gives the same
bytes.
"""

import hashlib
import os
import shutil
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel

from rules.reasons import ReasonCode
from serving.lists.certificate import Certificate, cells_table, make_certificate
from serving.lists.figures import make_report
from serving.lists.funnel import Funnel, funnel
from serving.lists.handover import OFFER_COLUMNS, by_channel, inert_csv, with_seeds
from serving.lists.plan import Plan, contact_id_of
from serving.lists.report import report_page
from serving.lists.wordings import with_wordings


class ListError(ValueError):
    """A list cannot be written where it should stand; one line."""


class Manifest(BaseModel):
    """What the list is made of. files: sha256 of each; lost: contacts another door was faster with; seeds: test addresses.

    problems: why it is degraded, and everybody silent, one line each.
    """

    run: str
    campaigns: tuple[str, ...]
    as_of: datetime
    revisions: dict[str, str]
    assumptions: tuple[str, ...]
    degraded: bool
    problems: tuple[str, ...] = ()
    guarantee: str
    funnel: Funnel
    lost: int
    seeds: int = 0
    files: dict[str, str]


def certificate(plan: Plan) -> Certificate:
    """The certificate of the list as issued."""
    return make_certificate(plan.inputs.terms, plan.cleared, plan.decisions, plan.worth)


def write_list(plan: Plan, folder: Path) -> Path:
    """Write the run's folder and return it; a folder that is there already is left as it is."""
    final = folder / plan.run
    if (final / "manifest.json").is_file():
        return final
    if final.exists():
        raise ListError(f"`{final}` is there without its manifest; move it away and plan again")
    beside = _beside(folder, plan.run)
    offers, control, suppressed = _tables(plan)
    pq.write_table(offers, beside / "offers.parquet")
    pq.write_table(control, beside / "control.parquet")
    pq.write_table(suppressed, beside / "suppressed.parquet")
    pq.write_table(
        cells_table(plan.cleared, plan.decisions.column("customer_id")), beside / "cells.parquet", compression="zstd"
    )
    listed, n_seeds = with_seeds(offers, [plan.inputs.engine.campaign(name) for name in plan.campaigns])
    (beside / "offers.csv").write_bytes(inert_csv(listed))
    for channel, rows in by_channel(listed).items():
        (beside / f"offers-{channel}.csv").write_bytes(inert_csv(rows))
    issued = certificate(plan)
    (beside / "certificate.json").write_text(issued.model_dump_json(indent=2))
    counted = funnel(plan.decisions)
    engine, at = plan.inputs.engine, plan.inputs.at
    report = make_report(plan, issued)
    (beside / "report.json").write_text(report.model_dump_json(indent=2), encoding="utf-8")
    (beside / "report.html").write_text(report_page(report), encoding="utf-8")
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(beside.iterdir())}
    manifest = Manifest(
        run=plan.run, campaigns=plan.campaigns, as_of=at, revisions=engine.revisions(at, plan.inputs.terms), assumptions=plan.assumptions,
        degraded=plan.inputs.degraded, problems=plan.inputs.problems, funnel=counted, lost=len(plan.lost), seeds=n_seeds, files=files,
        guarantee="a CSV is re-checked only by whoever claims its contacts before sending; else write recalls.csv "
                  "just before (nbo recall list) and send nothing it names, now where `recalled_at` is empty")  # fmt: skip
    (beside / "manifest.json").write_text(manifest.model_dump_json(indent=2))
    try:
        beside.rename(final)
    except OSError:  # a twin was faster: its bytes are these
        if not (final / "manifest.json").is_file():
            raise
        shutil.rmtree(beside)
    return final


def _beside(folder: Path, run: str) -> Path:
    """A place of this process alone to write in; what a process that is dead left there goes."""
    for left in folder.glob(f".{run}.*"):
        owner = left.name.rpartition(".")[2]
        if not (owner.isdigit() and Path(f"/proc/{owner}").is_dir()) or owner == str(os.getpid()):
            shutil.rmtree(left, ignore_errors=True)
    beside = folder / f".{run}.{os.getpid()}"
    beside.mkdir(parents=True)
    return beside


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a written list."""
    return Manifest.model_validate_json((folder / "manifest.json").read_bytes())


def _tables(plan: Plan) -> tuple[pa.Table, pa.Table, pa.Table]:
    rows = plan.decisions.sort_by([("customer_id", "ascending")])
    offered = rows.filter(pc.is_valid(rows.column("offer_id")))
    ids = [contact_id_of(plan.run, row) for row in offered.select(["customer_id", "offer_id", "channel"]).to_pylist()]
    offers = offered.append_column("contact_id", pa.array(ids, pa.string()))
    offers = offers.select([*OFFER_COLUMNS, "unit_id", "as_of", "explored", "factors", "n_open", "terms"])
    offers = with_wordings(offers, [plan.inputs.engine.campaign(name) for name in plan.campaigns], plan.inputs.features)
    silent = rows.filter(pc.is_null(rows.column("offer_id")))
    held = pc.equal(silent.column("reason"), int(ReasonCode.HOLDOUT))
    named = silent.select(["customer_id", "unit_id", "as_of", "reason", "reasons"])
    slugs = pa.array([ReasonCode(number).slug for number in named.column("reason").to_pylist()], pa.string())
    named = named.append_column("reason_name", slugs)
    return offers, named.filter(held), named.filter(pc.invert(held))
