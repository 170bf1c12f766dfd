"""A campaign as a form and as a file: what was typed becomes the YAML that is reviewed, and back."""

import re
import tempfile
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml

from features.money import minor_digits
from serving.campaign import Campaign, load_campaign
from serving.console.forms import Form

NUMBER_MAX = 10**12
END = "...\n"  # what YAML puts after a scalar that stands alone
_LISTS = ("offers", "families", "channels")


class FormError(ValueError):
    """What was typed is no campaign; one line."""


def written(form: Form, before: Campaign | None, text: str = "") -> tuple[str, str]:
    """(id, YAML) of what was typed. Null before: a new campaign. Else the one in force of that id, and its file.

    What the form does not ask for stays as it is, and so do the lines of the file that say the same as before: whoever
    judges the change sees what changes. CampaignError or FormError, one line, where it does not hold.
    """
    old: dict[str, Any] = {} if before is None else _said(before)
    cron = form.one("cron")
    said = old | {
        "id": form.one("id"), "title": {"en": form.one("title_en"), "zh": form.one("title_zh") or form.one("title_en")}, "owner": form.one("owner"),
        **{name: form.many(name) for name in _LISTS},
        "seats": {field.removeprefix("seats_"): whole(form.one(field)) for field in form.fields if field.startswith("seats_") and form.one(field)},
        "window": {"from": form.one("from"), "to": form.one("to")},
        "send": {"after": form.one("after") or "10:00", "before": form.one("before") or "19:00"},
        "audience": " ".join(form.one("audience").split()) or "TRUE",
        "budget_minor": minor(form.one("budget"), form.one("currency")) if form.one("budget") else None,
        "holdout_share": _share(form.one("holdout")),
        "schedule": old.get("schedule", {}) | {"cron": cron, "holidays": form.one("holidays") or "skip"} if cron else None,
    }  # fmt: skip
    plain = "".join(_line(name, value) for name, value in said.items() if value not in (None, [], {}))
    made = _load(plain)
    changed = _amended(text, old, _said(made)) if before is not None else "".join(map(_line, *zip(*_said(made).items(), strict=True)))  # fmt: skip
    return made.id, changed if _load(changed) == made else plain


def of_file(text: str) -> tuple[str, str]:
    """(id, the text as it is) of a campaign file; FormError, one line, where it does not hold."""
    return _load(text).id, text


def _said(campaign: Campaign) -> dict[str, Any]:
    """What a file has to say of it: everything that is not so anyway."""
    return campaign.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _line(name: str, value: Any) -> str:
    said: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000)
    return f"{name}: {said.removesuffix(END).rstrip()}\n"


def _amended(text: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    """The file with the entries that say something else, and no other line, written anew."""
    lines, dropping = list[str](), False
    for line in text.splitlines(keepends=True):
        if entry := re.match(r"([a-z_]+):", line):
            name = entry[1]
            dropping = old.get(name) != new.get(name)
            if dropping and name in new:
                lines.append(_line(name, new[name]))
        elif line[:1] not in (" ", "-", "]", "}"):
            dropping = False  # a remark or an empty line belongs to what follows
        if not dropping:
            lines.append(line)
    if lines and not lines[-1].endswith("\n"):
        lines.append("\n")
    return "".join(lines) + "".join(_line(name, value) for name, value in new.items() if name not in old)


def _load(text: str) -> Campaign:
    with tempfile.TemporaryDirectory(prefix="nbo-form-") as folder:
        path = Path(folder) / "campaign.yaml"
        path.write_text(text, "utf-8")
        try:
            return load_campaign(path)
        except ValueError as error:
            raise FormError(str(error).replace(f"{folder}/", "")) from error


def typed(campaign: Campaign, currency: str) -> dict[str, list[str]]:
    """The form's fields of a campaign; money in the currency's major units."""
    digits = minor_digits(currency)
    one = {
        "id": campaign.id, "title_en": campaign.title.en, "title_zh": campaign.title.zh, "owner": campaign.owner,
        "from": str(campaign.window.from_), "to": str(campaign.window.to), "after": campaign.send.after, "before": campaign.send.before,
        "audience": "" if campaign.audience == "TRUE" else campaign.audience,
        "holdout": f"{100 * campaign.holdout_share:g}" if campaign.holdout_share else "",
        "budget": "" if campaign.budget_minor is None else f"{Decimal(campaign.budget_minor).scaleb(-digits):.{digits}f}",
        "cron": campaign.schedule.cron if campaign.schedule else "", "holidays": campaign.schedule.holidays if campaign.schedule else "",
    }  # fmt: skip
    one |= {f"seats_{channel}": str(n) for channel, n in campaign.seats.items()}
    return {name: [value] for name, value in one.items()} | {name: list(getattr(campaign, name)) for name in _LISTS}


def file_of(files: Mapping[str, str], name: str) -> str:
    """The file of a set that a campaign stands in; where none does, the one it would stand in."""
    for file, text in files.items():
        if file.startswith("campaigns/") and re.search(rf"(?m)^id:\s*['\"]?{re.escape(name)}['\"]?\s*(#.*)?$", text):
            return file
    return f"campaigns/{name}.yaml"


def whole(text: str) -> int:
    """A count that was typed; FormError where it is none."""
    plain = text.replace(",", "").strip()
    if not plain.isascii() or not plain.isdigit() or int(plain) > NUMBER_MAX:
        raise FormError(f"`{text[:40]}` is no whole number; write digits only")
    return int(plain)


def minor(text: str, currency: str) -> int:
    """An amount that was typed, in minor units; FormError where it is none."""
    digits = minor_digits(currency)
    try:
        amount = Decimal(text.replace(",", "").strip()).scaleb(digits)
    except InvalidOperation:
        raise FormError(f"`{text[:40]}` is no amount; write it like 12500.00") from None
    if not amount.is_finite() or amount != amount.to_integral_value() or not 0 <= amount <= NUMBER_MAX:
        raise FormError(f"`{text[:40]}` is no amount in {currency}; write it like 12500.00")
    return int(amount)


def _share(text: str) -> float:
    try:
        return float(text) / 100 if text else 0.0
    except ValueError:
        raise FormError(f"`{text[:40]}` is no share in per cent; write it like 5") from None
