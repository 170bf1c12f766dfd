"""The folder of a compliance pack, and its page: self-contained, in both languages at once, made to be printed."""

import hashlib
import json
import shutil
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from features.home import Home
from rules.liveset import Files, write_files
from rules.money import money
from rules.reasons import Layer
from rules.review import ACTS_ZH, STATES_ZH
from serving.changes.pack import Pack, PackError
from serving.lists.words import LAYER_NAMES


def write_pack(pack: Pack, files: Files, home: Home) -> Path:
    """Write the folder, whole or not at all; its path. PackError where it is there already."""
    final = home.path / "packs" / f"{pack.made_at:%Y%m%dT%H%M%SZ}-{pack.month:%Y-%m}"
    if final.exists():
        raise PackError(f"`{final}` is there already; a pack is never written over")
    beside = final.with_name(f".{final.name}")
    shutil.rmtree(beside, ignore_errors=True)
    (beside / "set").mkdir(parents=True)
    write_files(files, beside / "set")
    (beside / "pack.json").write_text(pack.model_dump_json(indent=2), "utf-8")
    (beside / "index.html").write_text(pack_page(pack), "utf-8")
    hashes = {str(path.relative_to(beside)): hashlib.sha256(path.read_bytes()).hexdigest()
              for path in sorted(beside.rglob("*")) if path.is_file()}  # fmt: skip
    (beside / "manifest.json").write_text(json.dumps({"revision": pack.revision, "files": hashes}, indent=2), "utf-8")
    beside.rename(final)
    return final


def pack_page(pack: Pack) -> str:
    """The page as HTML; every text is escaped, nothing is fetched, no script runs."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string((resources.files("serving.changes") / "pack.html.j2").read_text("utf-8"))
    names = {str(layer): LAYER_NAMES[layer] for layer in Layer}
    layers = [
        (names[str(layer)], found) for layer in Layer if (found := [r for r in pack.rules if r.en.layer == str(layer)])
    ]
    return page.render(p=pack, layers=layers, layer_names=names, acts=ACTS_ZH, states=STATES_ZH, num=lambda n: f"{n:,}",
                       cash=lambda minor: money(minor, pack.currency), proved=sum(x.outcome == "proved" for x in pack.proofs))  # fmt: skip
