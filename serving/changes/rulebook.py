"""The policy in force as people read it: every part in both languages with its cases, and what parts cost in a time."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from rules.cases import load_cases
from rules.catalogue import Words
from rules.commands import ShowAnswer, shown
from rules.folder import PolicyFolder, find_policies
from rules.liveset import Files, laid_out
from rules.reasons import ReasonCode
from serving.lists.figures import Report
from serving.lists.words import REASONS


class PackRule(BaseModel):
    """One part of the policy, in both languages. cases: how many speak of it."""

    id: str
    en: ShowAnswer
    zh: ShowAnswer
    cases: int


class PackCase(BaseModel):
    """One case: what is said of the customer, where, and what must come of it."""

    id: str
    about: str
    customer: str
    where: str
    expect: str


class PackCost(BaseModel):
    """What one rule kept from customers of the lists of a time. value_minor: null where it has no price: the law."""

    rules: tuple[str, ...]
    title: Words
    layer: str
    customers: int
    value_minor: int | None


def rulebook(features: pa.Schema, files: Files) -> tuple[list[PackRule], list[PackCase]]:
    """Every part and every case of the one policy of a set, over the features of a home.

    Takes a second: keep it by both.
    """
    with laid_out(files) as folder:
        [found] = find_policies(folder, folder)
        one = replace(found, given=pa.schema([field for field in features if field.metadata]))
        cases = cases_of(one)
        return rules_of(one, cases), cases


def rules_of(one: PolicyFolder, cases: list[PackCase]) -> list[PackRule]:
    """Every part of a policy, in the order of the file."""
    counted = Counter(case.about for case in cases)
    return [PackRule(id=part.id, en=shown(one, part, "en"), zh=shown(one, part, "zh"), cases=counted[part.id])
            for part in one.policy.parts]  # fmt: skip


def cases_of(one: PolicyFolder) -> list[PackCase]:
    """The cases of a policy; [] where it has none."""
    if not one.cases_file.is_file():
        return []
    loaded = load_cases(one.cases_file, one.policy, one.catalogue, one.columns)
    return [PackCase(id=case.id, about=case.about, customer=_facts(case.customer, case.history),
                     where=f"{', '.join((*case.families, *case.offers)) or '*'} x {', '.join(case.channels)}, {case.direction}",
                     expect=", ".join(code.slug for code in case.expect) or "open") for case in loaded.cases]  # fmt: skip


def costs_of(lists: Path, begin: datetime, end: datetime, titles: dict[str, Words]) -> tuple[list[PackCost], list[str]]:
    """What each rule cost in the lists of a time, the dearest first, and those lists."""
    sums: dict[tuple[tuple[str, ...], str, str], list[int | None]] = {}
    runs: list[str] = []
    for path in sorted(lists.glob("*/report.json")):
        report = Report.model_validate_json(path.read_bytes())
        if not begin <= report.as_of < end:
            continue
        runs.append(report.run)
        for cost in report.rules:
            known = sums.setdefault((cost.rules, cost.reason, cost.layer), [0, None])
            known[0] = (known[0] or 0) + cost.customers
            if cost.value_minor is not None:
                known[1] = (known[1] or 0) + cost.value_minor
    told = [PackCost(rules=rules, title=_title(rules, reason, titles), layer=layer, customers=customers or 0, value_minor=value)
            for (rules, reason, layer), (customers, value) in sums.items()]  # fmt: skip
    return sorted(told, key=lambda cost: (-(cost.value_minor or 0), -cost.customers, cost.rules)), runs


def _title(rules: tuple[str, ...], reason: str, titles: dict[str, Words]) -> Words:
    known = [titles[name] for name in rules if name in titles]
    en, zh = REASONS[ReasonCode.of(reason)]
    if not known:
        return Words(en=en, zh=zh)
    unknown = ReasonCode.of(reason).slug.endswith("_unknown")
    return Words(en=" ".join(one.en for one in known) + (f" ({en})" if unknown else ""),
                 zh="".join(one.zh for one in known) + (f"（{zh}）" if unknown else ""))  # fmt: skip


def _facts(customer: dict[str, str], history: BaseModel) -> str:
    said = [f"{name} = {value}" for name, value in customer.items()]
    past = history.model_dump(mode="json", exclude_defaults=True)
    return "; ".join([*said, *(f"{name}: {_past(value)}" for name, value in past.items())])


def _past(value: Any) -> str:
    """What has happened as words: `days_ago 1, currency USD, out 900000`, one after the other."""
    if isinstance(value, list):
        return " + ".join(map(_past, value))  # pyright: ignore[reportUnknownArgumentType]  # of JSON
    if isinstance(value, dict):
        return ", ".join(f"{str(name).strip('_')} {_past(one)}" for name, one in value.items())  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)  # fmt: skip
