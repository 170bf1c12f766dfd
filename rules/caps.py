"""Caps: at most so many contacts in a sliding window, per person or per unit.

A cap lowers to a counter column per (level, channel, family, offer, campaign, window) and a rule
over it. Only outbound marketing spends it: service and inbound contacts are never counted.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from rules.catalogue import Catalogue, Name
from rules.column import declare
from rules.facts import DAY_MICROS
from rules.reasons import Layer
from rules.rule import Rule, Scope, Stated

Each = Name | Literal["all", "each"]
Side = Literal["around", "before", "after"]
Campaign = tuple[str, tuple[str, ...], tuple[str, ...]]  # campaign_id, its offers, its channels


@dataclass(frozen=True)
class ContactCount:
    """The most marketing contacts that fall, with the new one, into one window of window_days.

    Contact i lies somewhere in [starts_i, ends_i], the new one somewhere in [a, b] (send_after,
    send_before); all are placed as close as they can be. A window [s, s + w), w = window_days,
    holds the new one iff a - w < s <= b, and can hold contact i iff starts_i < s + w and ends_i >= s:

        count = max over s in (a - w, b] of #{i: starts_i - w < s <= ends_i}

    Two contacts exactly w apart share no window. side `before`: only windows that end with the new
    contact at t, (t - w, t]; `after`: only those that begin with it, [t, t + w), a <= t <= b.
    channel, family, offer, campaign None: any. unit: the contacts of all members of the unit.
    """

    unit: bool
    channel: str | None
    family: str | None
    window_days: int
    offer: str | None = None
    campaign: str | None = None
    side: Side = "around"

    @property
    def name(self) -> str:
        """The computed column name: `unit_contacts_sms_marketing_wealth_7d`."""
        about = "".join(f"_{part}" for part in (
            self.family, self.offer and f"offer_{self.offer}", self.campaign and f"campaign_{self.campaign}") if part)  # fmt: skip
        side = "" if self.side == "around" else f"_{self.side}"
        return (
            f"{'unit_' if self.unit else ''}contacts_{self.channel or 'all'}_marketing{about}_{self.window_days}d{side}"
        )

    @property
    def shifts(self) -> tuple[int, int, int]:
        """(f, t, g), micros: contact i counts at the instants [starts_i + f, ends_i + t] of [a + g, b]."""
        width = self.window_days * DAY_MICROS
        return {"around": (1 - width, 0, 1 - width), "before": (0, width - 1, 0), "after": (1 - width, 0, 0)}[self.side]

    def field(self) -> pa.Field:
        """The declared state column."""
        who, whom = ("household", "本户") if self.unit else ("customer", "客户")
        where = f" by {self.channel}" if self.channel else ""
        about = self.family or self.offer or (self.campaign and f"campaign {self.campaign}")
        days, zh = f"{self.window_days} day{'s' * (self.window_days > 1)}", f"{self.window_days}天"
        when, zh = {"around": (f"within {days}", f"{zh}内"), "before": (f"in the {days} before", f"之前{zh}内"),
                    "after": (f"in the {days} after", f"之后{zh}内")}[self.side]  # fmt: skip
        return declare(self.name, pa.float64(), unit="contacts", domain="[0,)", null="ledger not read", source="ledger contacts",
                       en=f"marketing contacts of the {who}{where}{f' about {about}' if about else ''} {when}",
                       zh=f"{whom}{zh}的营销接触次数（{self.channel or '全部渠道'}，{about or '全部产品'}）")  # fmt: skip


def most(spans: Sequence[tuple[int, int]]) -> int:
    """The greatest number of closed intervals with an instant in common; 0 of none."""
    if not spans or max(low for low, _ in spans) <= min(high for _, high in spans):
        return len(spans)
    return max(sum(low <= at <= high for low, high in spans) for at, _ in spans)  # depth grows only where one begins


class Cap(Stated):
    """No more than `max` contacts within `window_days`, counted back and forward from the new one.

    all: summed; each: a cap of its own per channel, family, offer or campaign; else the one named.
    """

    level: Literal["person", "unit"] = "person"
    channel: Each = "all"
    family: Each = "all"
    offer: Each = "all"
    campaign: Literal["all", "each"] = "all"
    max: Annotated[int, Field(ge=0, le=1000)]
    window_days: Annotated[int, Field(ge=1, le=730)]

    @model_validator(mode="after")
    def _countable(self) -> Self:
        narrowed = [name for name in ("family", "offer", "campaign") if getattr(self, name) != "all"]
        if len(narrowed) > 1:
            raise ValueError(f"cap `{self.id}`: {' and '.join(narrowed)} together; keep the narrowest one")
        if self.campaign == "each" and self.channel != "all":
            raise ValueError(f"cap `{self.id}`: a campaign is capped over all its channels; remove `channel`")
        if self.level == "unit" and narrowed and narrowed != ["family"]:
            raise ValueError(f"cap `{self.id}`: a household is capped by channel or family; remove `{narrowed[0]}`")
        return self

    @property
    def layer(self) -> Layer:
        """Caps are of the contact layer."""
        return Layer.CONTACT

    def _count(self, channel: str | None, family: str | None, offer: str | None, campaign: str | None) -> ContactCount:
        return ContactCount(self.level == "unit", channel, family, self.window_days, offer, campaign)

    def rules(self, campaigns: Sequence[Campaign] = ()) -> list[Rule]:
        """The rules over the counters; per campaign: a cell closes when all that cover it are spent."""
        if self.campaign == "each":
            return self._campaign_rules(campaigns)
        channel, family, offer = (
            {"all": None, "each": f"this_{kind}"}.get(asked, asked)
            for kind, asked in (("channel", self.channel), ("family", self.family), ("offer", self.offer))
        )
        scope = Scope(
            families=_one(self.family), offers=_one(self.offer), channels=_one(self.channel), direction="outbound"
        )
        column = self._count(channel, family, offer, None).name
        return [Rule(**self.stated(), layer=self.layer, scope=scope, when=f"{column} >= {self.max}")]

    def _campaign_rules(self, campaigns: Sequence[Campaign]) -> list[Rule]:
        covering: dict[tuple[str, str], list[str]] = defaultdict(list)  # (offer, channel) -> campaigns
        for name, offers, channels in campaigns:
            for offer in offers:
                for channel in channels:
                    covering[offer, channel].append(name)
        alike: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
        for (offer, channel), names in covering.items():
            alike[offer, tuple(names)].append(channel)
        return [Rule(**self.stated(), layer=self.layer, scope=Scope(offers=(offer,), channels=tuple(channels), direction="outbound"),
                     when=" AND ".join(f"{self._count(None, None, None, name).name} >= {self.max}" for name in names))
                for (offer, names), channels in alike.items()]  # fmt: skip

    def spares(self, campaign: str) -> str | None:
        """The condition under which the campaign may still contact; None where the cap is not per campaign."""
        return f"{self._count(None, None, None, campaign).name} < {self.max}" if self.campaign == "each" else None

    def counts(self, catalogue: Catalogue, campaigns: Sequence[Campaign] = ()) -> list[ContactCount]:
        """The counters the cap needs, one per channel, family, offer and campaign where it says `each`."""
        channels = _expand(self.channel, [c.id for c in catalogue.channels])
        families = _expand(self.family, [f.id for f in catalogue.families])
        offers = _expand(self.offer, [o.id for o in catalogue.offers])
        running = _expand(self.campaign, [name for name, _, _ in campaigns])
        return [self._count(c, f, o, r) for c in channels for f in families for o in offers for r in running]


def _one(asked: str) -> tuple[str, ...]:
    return () if asked in ("all", "each") else (asked,)


def _expand(asked: str, names: list[str]) -> list[str | None]:
    if asked == "all":
        return [None]
    return list(names) if asked == "each" else [asked]
