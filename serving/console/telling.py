"""How values are written on a page: money, counts, shares, instants in the bank's zone, words of two languages."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rules.money import money
from rules.reasons import Layer, ReasonCode
from rules.review import ACTS_ZH, STATES_ZH, Act, State
from serving.console.strings import Tongue
from serving.lists.words import LAYER_NAMES, LAYERS, REASONS


def tellers(tongue: Tongue, zone: ZoneInfo, currency: str) -> dict[str, Callable[..., str]]:
    """Name -> filter for templates. Null is an en dash."""
    place = 0 if tongue == "en" else 1

    def words(value: Any) -> str:
        """`en` and `zh` of a message, mapping or pair."""
        if value is None:
            return ""
        if isinstance(value, tuple | list):
            return str(value[place])
        return str(value[tongue] if isinstance(value, dict) else getattr(value, tongue))

    def when(value: datetime | None, form: str = "%Y-%m-%d %H:%M") -> str:
        return "–" if value is None else value.astimezone(zone).strftime(form)

    return {
        "words": words,
        "when": when,
        "day": lambda value: when(value, "%Y-%m-%d") if isinstance(value, datetime) else _date(value),
        "num": lambda value: "–" if value is None else f"{value:,}",
        "cash": lambda minor, code=None: "–" if minor is None else money(minor, code or currency),
        "pct": lambda share, digits=1: "–" if share is None else f"{100 * share:.{digits}f} %",
        "figure": lambda value, digits=3: "–" if value is None else f"{value:.{digits}f}",
        "signed": lambda value, digits=4: "–" if value is None else f"{value:+.{digits}f}".replace("-", "−"),
        "reason": lambda slug: words(_reason(slug)),
        "layer": lambda slug: words(LAYER_NAMES[Layer(slug)]),
        "layer_passed": lambda slug: words(LAYERS[Layer(slug)]),
        "state": lambda state: words((str(state).replace("_", " "), STATES_ZH[State(state)])),
        "act": lambda act: words((str(act).replace("_", " "), ACTS_ZH[Act(act)])),
        "short": lambda text, length=12: str(text)[:length],
    }


def _date(value: date | str | None) -> str:
    return "–" if value is None else str(value)


def _reason(slug: str) -> tuple[str, str]:
    try:
        code = ReasonCode.of(slug)
        en, zh = REASONS[code]
        return (f"a fact is not known ({LAYER_NAMES[code.layer][0]})" if slug.endswith("_unknown") else en, zh)
    except (KeyError, ValueError):
        return (slug.replace("_", " "), slug)  # who took it back by hand: `operator`, `superseded`
