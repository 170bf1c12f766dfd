"""The report tells the run's own numbers, in both languages, as money people read."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.home import Home
from rules.arbitrate import cell_values
from rules.catalogue import load_catalogue
from rules.line import Line
from rules.money import money
from rules.reasons import PRECEDENCE, Layer, ReasonCode
from rules.why import why_closed
from serving.commands.lists import make_list
from serving.lists import forgone as module
from serving.lists.batch import chunks
from serving.lists.figures import Report
from serving.lists.files import certificate
from serving.lists.forgone import alone, forgone
from serving.lists.plan import Plan, make_plan
from serving.lists.report import report_page
from serving.lists.rivals import everyone, greedy
from serving.lists.sentences import said
from serving.lists.words import LAYER_NAMES, LAYERS, REASONS, limit_words
from tests.home import NOW, Clock, office_at
from training.score import FROM_HOLDOUT, NO_HOLDOUT
from training.trainers import ALL_REACHED, FROM_HOLDINGS, NO_FORECAST, NO_HARM, REFITTED

DOCUMENT = Path(__file__).parents[3] / "docs" / "reasons.md"
BOTH = ["all_year", "dollars"]


@pytest.fixture
def scarce(bank: Path) -> Path:
    path = bank / "campaigns" / "all_year.yaml"
    text = path.read_text("utf-8")
    path.write_text(
        text[: text.index("seats:")] + "seats: {sms: 20, email: 10, app: 30, call: 55, branch: 2}\n", "utf-8"
    )
    other = bank / "campaigns" / "dollars.yaml"
    text = other.read_text("utf-8")
    other.write_text(text[: text.index("seats:")], "utf-8")  # a price for each channel, and no more
    return bank


def planned(home: Path) -> Plan:
    office = office_at(home, Clock())
    plan = make_plan(office.engine, office.ledger, BOTH, NOW)
    office.close()
    return plan


def test_every_reason_has_the_words_of_the_document() -> None:
    rows = re.findall(r"^\| \d+ \| `(\w+)` \| \w+ \| (.*?) \| (.*?) \|$", DOCUMENT.read_text("utf-8"), re.M)
    assert {ReasonCode.of(slug): (en, zh) for slug, en, zh in rows} == REASONS and set(REASONS) == set(ReasonCode)
    assert set(LAYERS) == set(LAYER_NAMES) == set(Layer)


def test_page_and_json_tell_the_same_numbers_as_the_files(scarce: Path) -> None:
    folder = Path(str(make_list(Home.open(scarce), BOTH, NOW).path))
    text = (folder / "report.json").read_text("utf-8")
    told = Report.model_validate_json(text)
    page = unescape((folder / "report.html").read_text("utf-8"))
    offers = pq.read_table(folder / "offers.parquet")
    assert told.certificate.model_dump(mode="json") == json.loads((folder / "certificate.json").read_text())
    assert told.funnel.model_dump() == json.loads((folder / "manifest.json").read_text())["funnel"]
    assert told.funnel.chosen == offers.num_rows > 0
    for found in told.groups.values():  # every way to cut the run adds up to the run
        assert sum(g.customers for g in found) == told.funnel.customers
        assert sum(g.contacts for g in found) == offers.num_rows
        assert sum(g.value_minor for g in found) == told.certificate.value_minor
        assert sum(g.nothing for g in found) == told.funnel.decisive["no_capacity"]
    assert round(sum(hour.contacts for hour in told.hours), 1) == offers.num_rows
    early = sum(hour.contacts for hour in told.hours if 10 <= hour.hour < 19)
    assert 0.8 * offers.num_rows < early < offers.num_rows  # most live in the bank's own zone, some do not
    assert sum(one.customers for one in told.silent) == told.funnel.customers - told.funnel.chosen
    for one in told.silent:
        assert one.en in page and one.zh in page
    for amount in (told.certificate.value_minor, told.certificate.bound_minor, told.greedy.value_minor, told.everyone.value_minor,
                   *(rule.value_minor for rule in told.rules[:3])):  # fmt: skip
        assert money(amount or 0, "CNY") in page and str(amount) not in page
    dearest = max(told.certificate.limits, key=lambda limit: limit.price_milli)
    assert f"One more {dearest.name[:-1]} is worth {money(dearest.price_milli / 1000, 'CNY')}." in page
    assert page == unescape(report_page(told)) and not re.search(r"<script|\ssrc=|https?:", page)


def test_chinese_readers_get_chinese_sentences_and_titles(scarce: Path) -> None:
    """What the run says of itself: notes, limits, minimums that cannot be kept."""
    path = scarce / "campaigns" / "all_year.yaml"
    path.write_text(path.read_text("utf-8") + "minimums: {card_gold: 5000}\n", "utf-8")
    folder = Path(str(make_list(Home.open(scarce), BOTH, NOW).path))
    page = unescape((folder / "report.html").read_text("utf-8"))
    told = "\n".join(re.findall(r'<span class="zh" lang="zh">(.*?)</span>', page, re.S))
    titles = load_catalogue(scarce / "catalogue.yaml")
    branch = next(one.title.zh for one in titles.channels if one.id == "branch")
    gold = next(one.title.zh for one in titles.offers if one.id == "card_gold")
    assert f"：{branch} 名额" in told and f"：{gold} 最低量” 要求 5,000" in told and "有共同的产品与渠道" in told
    assert "未经任何人审批" in told and not re.search(r"\b(seats|minimum|inventory|budget)\b", told)


@pytest.mark.parametrize("line", [
    NO_HOLDOUT, FROM_HOLDOUT, ALL_REACHED, NO_HARM, FROM_HOLDINGS, REFITTED, NO_FORECAST, "no live model `churn`; train and promote it",
    "no feature snapshot; nbo features build", "the newest snapshot is of 2026-06-01T00:00:00Z, older than 1 day, 12:00:00; nbo features build",
])  # fmt: skip
def test_what_data_and_models_say_of_themselves_is_said_in_chinese_too(line: str) -> None:
    found = said(line)
    assert found.en == line and re.search("[\u4e00-\u9fff]", found.zh) and "\\" not in found.zh
    assert said(f"{line}, says the bank") == Line.alike(f"{line}, says the bank")


@pytest.mark.parametrize(("name", "en", "zh"), [
    ("branch seats", "branch seats", "网点面谈 名额"),
    ("a: branch seats of manager M: 1", "a: branch seats of manager M: 1", "甲：网点面谈 名额，客户经理 M: 1"),
    ("a+b budget", "a+b budget", "甲 + b 预算"), ("calls", "calls", "calls"),
])  # fmt: skip
def test_a_limit_is_told_in_words(name: str, en: str, zh: str) -> None:
    titles = {"branch": Line(en="at the branch", zh="网点面谈"), "a": Line(en="A", zh="甲")}
    assert limit_words(name, titles) == (en, zh)


def test_a_rule_costs_the_value_of_the_cells_it_alone_closes(scarce: Path) -> None:
    """Against a slow look at every cell of every customer through `why_closed`.

    Mutant: counting every closed cell (`shut = single.n >= 1`) makes the dearest rules too dear.
    """
    plan = planned(scarce)
    found = forgone(plan.inputs, plan.cleared, plan.worth)
    [customers] = list(chunks(plan.inputs))
    terms, price = plan.inputs.terms, dict(zip([limit.where["channel"] for limit in plan.cleared.limits], plan.cleared.allocation.price.tolist(), strict=True))  # fmt: skip
    channels = [channel.id for channel in terms.catalogue.channels]
    values = cell_values(
        plan.inputs.engine.score(customers, np.ones((customers.num_rows, terms.program.n_cells), bool)), terms
    )
    own = np.where(plan.cleared.cell >= 0, plan.worth - np.rint(plan.cleared.bid_milli / 1000), 0)
    single = alone(customers, terms)
    slow: dict[tuple[str, tuple[str, ...]], int] = {}
    for row in range(0, customers.num_rows, 6):
        gains: dict[tuple[str, tuple[str, ...]], int] = {}
        for cell in range(terms.program.n_cells):
            closings = why_closed(customers.slice(row, 1), terms, cell)
            if len(closings) != 1 or single.n[row, cell] != 1:
                assert len(closings) != 1 or single.n[row, cell] > 1  # several rules may say one reason
                continue
            key = (closings[0].reason.slug, closings[0].rules)
            known = single.keys[single.who[row, cell]]
            assert key == (PRECEDENCE[known[0]].slug, known[1])
            net = int(values.gross[row, cell]) - round(price[channels[cell % len(channels)]] / 1000)
            if values.known[row, cell] and closings[0].reason.layer is not Layer.REGULATORY:
                gains[key] = max(gains.get(key, 0), net - max(int(own[row]), 0))
        for key, gain in gains.items():
            slow[key] = slow.get(key, 0) + gain
    ours = _of_rows(plan, np.arange(0, customers.num_rows, 6), single, values, own)
    assert {key: n for key, n in slow.items() if n} == {key: n for key, n in ours.items() if n} and len(slow) > 5
    everybody = _of_rows(plan, np.arange(customers.num_rows), single, values, own)
    told = {(cost.reason, cost.rules): cost.value_minor for cost in found.rules if cost.value_minor}
    assert told == {key: n for key, n in everybody.items() if n}
    by_law = [cost for cost in found.rules if cost.layer == "regulatory"]
    assert len(by_law) > 2 and all(cost.value_minor is None for cost in by_law)


def _of_rows(plan: Plan, rows: np.ndarray, single: module.Alone, values: Any, own: np.ndarray) -> dict[Any, int]:
    """The same in one matrix, for some rows."""
    catalogue = plan.inputs.terms.catalogue
    prices = dict(
        zip(
            [limit.where["channel"] for limit in plan.cleared.limits],
            plan.cleared.allocation.price.tolist(),
            strict=True,
        )
    )
    paid = np.array([round(prices[channel.id] / 1000) for _ in catalogue.offers for channel in catalogue.channels])
    sums: dict[Any, int] = {}
    for place, (rank, rules) in enumerate(single.keys):
        code = PRECEDENCE[rank]
        if code.layer is Layer.REGULATORY or code is ReasonCode.OFFER_NOT_ON_CHANNEL:
            continue
        mine = (single.n == 1) & (single.who == place) & values.known
        best = np.where(mine, values.gross - paid, -1).max(axis=1)
        sums[code.slug, rules] = int(np.maximum(best - np.maximum(own, 0), 0)[rows].sum())
    return sums


def test_of_a_large_bank_a_sample_of_whole_units_is_measured(scarce: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(scarce)
    whole = forgone(plan.inputs, plan.cleared, plan.worth)
    monkeypatch.setattr(module, "MEASURED", 600)
    part = forgone(plan.inputs, plan.cleared, plan.worth)
    assert whole.measured == 1_200 and 450 < part.measured < 750
    again = forgone(plan.inputs, plan.cleared, plan.worth)
    assert part.rules == again.rules and (part.beyond == again.beyond).all()
    dear, scaled = ({c.rules: c.value_minor or 0 for c in one.rules} for one in (whole, part))
    assert 0.5 < sum(scaled.values()) / sum(dear.values()) < 2.0
    units = np.array(plan.inputs.features.column("unit_id").to_pylist())
    taken = module._measured(plan.inputs)
    assert len({(u, t) for u, t in zip(units, taken, strict=True)}) == len(set(units))


def test_rivals_see_the_same_cells_and_keep_or_break_the_limits(scarce: Path) -> None:
    """Greedy keeps every limit and is worth no more; everyone reaches each customer with an open cell."""
    plan = planned(scarce)
    catalogue, issued = plan.inputs.terms.catalogue, certificate(plan)
    first, all_ = greedy(plan.cleared, plan.inputs.terms), everyone(plan.cleared, plan.inputs.terms)
    assert first.broken == () and 0 < first.value_minor <= issued.bound_minor
    assert all_.broken and all_.contacts > first.contacts
    # Slowly: sort everything by value, take what fits.
    market, left = plan.cleared.market, {limit.where["channel"]: limit.at_most or 0 for limit in plan.cleared.limits}
    channels = [channel.id for channel in catalogue.channels]
    taken: set[int] = set()
    value = 0
    cells = sorted(((-int(g), int(market.chooser[o]), int(c)) for o, c, g in zip(market.owner(), market.cell, market.gross, strict=True)
                    if plan.cleared.drawn[o] in (-1, c)))  # fmt: skip
    for minus, chooser, cell in cells:
        channel = channels[cell % len(channels)]
        if minus < 0 and chooser not in taken and left[channel] > 0:
            taken.add(chooser)
            left[channel] -= 1
            value -= minus
    assert (first.contacts, first.value_minor) == (len(taken), value)
    best: dict[int, int] = {}
    for minus, chooser, _ in cells:
        best[chooser] = max(best.get(chooser, -(10**12)), -minus)
    assert (all_.contacts, all_.value_minor) == (len(best), sum(best.values()))
