"""Caps: at most so many contacts in a sliding window, per person or per unit.

A cap lowers to a counter column per (level, channel, family, window) and one rule over it.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import pyarrow as pa
from pydantic import Field

from rules.catalogue import Catalogue, Name
from rules.column import declare
from rules.reasons import Layer
from rules.rule import Rule, Scope, Stated

Each = Name | Literal["all", "each"]


@dataclass(frozen=True)
class ContactCount:
    """Marketing contacts that count (reserved, claimed or sent) within window_days of the new one.

    channel and family None: any. unit: the contacts of all members of the unit.
    """

    unit: bool
    channel: str | None
    family: str | None
    window_days: int

    @property
    def name(self) -> str:
        """The computed column name: `unit_contacts_sms_marketing_wealth_7d`."""
        family = f"_{self.family}" if self.family else ""
        return f"{'unit_' if self.unit else ''}contacts_{self.channel or 'all'}_marketing{family}_{self.window_days}d"

    def field(self) -> pa.Field:
        """The declared state column."""
        who, whom = ("household", "本户") if self.unit else ("customer", "客户")
        where = f" by {self.channel}" if self.channel else ""
        what = f" about {self.family}" if self.family else ""
        return declare(self.name, pa.float64(), unit="contacts", domain="[0,)", null="ledger not read", source="ledger",
                       en=f"marketing contacts of the {who}{where}{what} within {self.window_days} days",
                       zh=f"{whom}{self.window_days}天内的营销接触次数（{self.channel or '全部渠道'}，{self.family or '全部产品'}）")  # fmt: skip


class Cap(Stated):
    """No more than `max` contacts within `window_days`, counted back and forward from the new one."""

    level: Literal["person", "unit"] = "person"
    channel: Each = "all"  # all: summed over channels; each: a cap of its own per channel
    family: Each = "all"
    max: Annotated[int, Field(ge=0, le=1000)]
    window_days: Annotated[int, Field(ge=1, le=730)]

    def rule(self) -> Rule:
        """The contact-layer rule over the counter column."""
        channel = {"all": None, "each": "this_channel"}.get(self.channel, self.channel)
        family = {"all": None, "each": "this_family"}.get(self.family, self.family)
        column = ContactCount(self.level == "unit", channel, family, self.window_days).name
        scope = Scope(families=() if self.family in ("all", "each") else (self.family,),
                      channels=() if self.channel in ("all", "each") else (self.channel,), direction="outbound")  # fmt: skip
        return Rule(**self.stated(), layer=Layer.CONTACT, scope=scope, when=f"{column} >= {self.max}")

    def counts(self, catalogue: Catalogue) -> list[ContactCount]:
        """The counters the cap needs, one per channel and family where it says `each`."""
        channels = _expand(self.channel, [c.id for c in catalogue.channels])
        families = _expand(self.family, [f.id for f in catalogue.families])
        return [ContactCount(self.level == "unit", c, f, self.window_days) for c in channels for f in families]


def _expand(asked: str, names: list[str]) -> list[str | None]:
    if asked == "all":
        return [None]
    return list(names) if asked == "each" else [asked]
