"""What the pages say, in the languages of the house: English in the templates, Chinese in zh.json beside this file.

The English text is the key; words of the ledger have a key of their own, `outcome refused`, and both languages beside it.
Values are put in by name: `t("{n} customers", n=12)`. A test finds every text that the templates and pages say, and wants
each in zh.json and nothing else there.
"""

import json
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Literal

Tongue = Literal["en", "zh"]
TONGUES: tuple[Tongue, ...] = ("en", "zh")
Saying = Callable[..., str]


@cache
def catalogue() -> dict[str, str | list[str]]:
    """English -> Chinese, or key -> [English, Chinese]."""
    text = (resources.files("serving.console") / "zh.json").read_text("utf-8")
    found: dict[str, str | list[str]] = json.loads(text)
    return found


def saying(tongue: Tongue) -> Saying:
    """`t` of a language."""

    def t(text: str, **values: object) -> str:
        said = catalogue().get(text, text)
        if isinstance(said, list):
            said = said[TONGUES.index(tongue)]
        elif tongue == "en":
            said = text
        return said.format(**values) if values else said

    return t


def preferred(header: str) -> Tongue:
    """The language an Accept-Language header asks for first, of the two there are."""
    for part in header.lower().split(","):
        tag = part.partition(";")[0].strip()
        if tag.startswith("zh"):
            return "zh"
        if tag.startswith("en"):
            return "en"
    return "en"
