"""The page of a compliance pack: self-contained, in both languages at once, made to be printed."""

from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

from rules.reasons import Layer
from serving.lists.money import money
from serving.lists.words import LAYER_NAMES

if TYPE_CHECKING:
    from serving.changes.pack import Pack

ACTS = {"boot": "启用", "propose": "提出", "check": "检查", "approve": "批准", "reject": "否决", "withdraw": "撤回",
        "activate": "生效", "rollback": "回退"}  # fmt: skip
STATES = {"booted": "已启用", "proposed": "已提出", "failed": "检查未通过", "checked": "已检查", "approved": "已批准", "rejected": "已否决",
          "withdrawn": "已撤回", "activated": "已生效", "rolled_back": "已回退"}  # fmt: skip


def pack_page(pack: "Pack") -> str:
    """The page as HTML; every text is escaped, nothing is fetched, no script runs."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string((resources.files("serving.changes") / "pack.html.j2").read_text("utf-8"))
    names = {str(layer): LAYER_NAMES[layer] for layer in Layer}
    layers = [
        (names[str(layer)], found) for layer in Layer if (found := [r for r in pack.rules if r.en.layer == str(layer)])
    ]
    return page.render(p=pack, layers=layers, layer_names=names, acts=ACTS, states=STATES, num=lambda n: f"{n:,}",
                       cash=lambda minor: money(minor, pack.currency), proved=sum(x.outcome == "proved" for x in pack.proofs))  # fmt: skip
