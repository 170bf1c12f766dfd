"""A campaign as a form and as a file: what was typed becomes the YAML that is reviewed, and back."""

import json
import re
import tempfile
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from features.money import minor_digits
from serving.campaign import Campaign, load_campaign
from serving.console.forms import Form

NUMBER_MAX = 10**12
_LISTS = ("offers", "families", "channels")
_COUNTS = ("seats", "per_day")


class FormError(ValueError):
    """What was typed is no campaign; one line."""


def written(form: Form, before: Campaign | None) -> tuple[str, str]:
    """(id, YAML) of what was typed. before: the campaign of that id in force, whose other fields stay; null: a new one.

    CampaignError or FormError, one line, where it does not hold.
    """
    said: dict[str, Any] = (
        {} if before is None else before.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    )
    said |= {"id": form.one("id"), "title": {"en": form.one("title_en"), "zh": form.one("title_zh") or form.one("title_en")}, "owner": form.one("owner")}  # fmt: skip
    said |= {name: form.many(name) for name in _LISTS}
    said |= {name: _counts(form, name) for name in _COUNTS}
    said["window"] = {"from": form.one("from"), "to": form.one("to")}
    said["send"] = {"after": form.one("after") or "10:00", "before": form.one("before") or "19:00"}
    said["audience"] = " ".join(form.one("audience").split()) or "TRUE"
    said["budget_minor"] = minor(form.one("budget"), form.one("currency")) if form.one("budget") else None
    said["holdout_share"] = _share(form.one("holdout"))
    said["approved_by"] = form.one("approved_by") or None
    cron = form.one("cron")
    said["schedule"] = {"cron": cron, "holidays": form.one("holidays") or "skip", "missed": form.one("missed") or "last"} if cron else None  # fmt: skip
    lines = [
        f"{name}: {json.dumps(value, ensure_ascii=False)}"
        for name, value in said.items()
        if value not in (None, [], {})
    ]
    return of_file("\n".join(lines) + "\n")


def of_file(text: str) -> tuple[str, str]:
    """(id, the text as it is) of a campaign file; CampaignError, one line, where it does not hold."""
    with tempfile.TemporaryDirectory(prefix="nbo-form-") as folder:
        path = Path(folder) / "campaign.yaml"
        path.write_text(text, "utf-8")
        try:
            return load_campaign(path).id, text
        except ValueError as error:
            raise FormError(str(error).replace(f"{folder}/", "")) from error


def typed(campaign: Campaign) -> dict[str, list[str]]:
    """The form's fields of a campaign."""
    one = {
        "id": campaign.id, "title_en": campaign.title.en, "title_zh": campaign.title.zh, "owner": campaign.owner,
        "from": str(campaign.window.from_), "to": str(campaign.window.to), "after": campaign.send.after, "before": campaign.send.before,
        "audience": "" if campaign.audience == "TRUE" else campaign.audience, "approved_by": campaign.approved_by or "",
        "holdout": f"{100 * campaign.holdout_share:g}" if campaign.holdout_share else "",
        "budget": "" if campaign.budget_minor is None else f"{campaign.budget_minor / 100:.2f}",
        "cron": campaign.schedule.cron if campaign.schedule else "", "holidays": campaign.schedule.holidays if campaign.schedule else "",
        "missed": campaign.schedule.missed if campaign.schedule else "",
    }  # fmt: skip
    one |= {f"{name}_{channel}": str(n) for name in _COUNTS for channel, n in getattr(campaign, name).items()}
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


def _counts(form: Form, name: str) -> dict[str, int]:
    return {field.removeprefix(f"{name}_"): whole(form.one(field)) for field in form.fields
            if field.startswith(f"{name}_") and form.one(field)}  # fmt: skip


def _share(text: str) -> float:
    try:
        return float(text) / 100 if text else 0.0
    except ValueError:
        raise FormError(f"`{text[:40]}` is no share in per cent; write it like 5") from None
