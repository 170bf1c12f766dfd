"""A list keeps its seats, proves its worth, is written once, and never outruns another door."""

import hashlib
import json
import shutil
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.home import Home
from features.settings import write_settings
from rules.arbitrate import cell_values
from rules.draws import share_of
from rules.reasons import ReasonCode
from rules.suppress import suppress
from serving.campaign import CampaignError
from serving.commands import lists as command
from serving.commands.lists import PlanError, make_list
from serving.engine import HOLDOUT_SHARE
from serving.http.messages import ExternalContactRequest, Purpose, SwitchAction, SwitchRequest
from serving.ledger.seed import assign_units
from serving.lists.batch import chunks
from serving.lists.check import check_list
from serving.lists.files import ListError, Manifest, read_manifest, write_list
from serving.lists.plan import Plan, make_plan, reserve_plan, run_name
from serving.office import Office
from tests.home import HERO, NOW, UNTIL, Clock, ask, call, move, office_at, rows, said

BOTH = ["all_year", "dollars"]
SEATS = {"sms": 20, "email": 10, "app": 30, "call": 5, "branch": 0}
FEW = ", ".join(f"{channel}: {count}" for channel, count in SEATS.items())


@pytest.fixture
def tight(bank: Path) -> Path:
    """The home with so few seats that every channel is scarce, branch closed."""
    path = bank / "campaigns" / "all_year.yaml"
    text = path.read_text("utf-8")
    path.write_text(text[: text.index("seats:")] + f"seats: {{{FEW}}}\n", "utf-8")
    return bank


@pytest.fixture
def exploring(tight: Path) -> Path:
    """The same home, where one customer in ten explores."""
    path = tight / "campaigns" / "all_year.yaml"
    path.write_text(path.read_text("utf-8") + "exploration_share: 0.1\n", "utf-8")
    return tight


def offered(plan: Plan) -> dict[str, dict[str, Any]]:
    """Customer -> decision, of those who are offered something."""
    return {row["customer_id"]: row for row in plan.decisions.to_pylist() if row["offer_id"] is not None}


def whole(office: Office, clock: Clock, campaigns: list[str] = BOTH) -> Plan:
    return make_plan(office.engine, office.ledger, campaigns, clock.now)


def test_p16_the_seats_hold_and_the_certificate_is_true(exploring: Path, clock: Clock) -> None:
    answer_ = make_list(Home.open(exploring), ["all_year"], NOW)
    folder = Path(str(answer_.path))
    listed = pq.read_table(folder / "offers.parquet").to_pylist()
    used = Counter(row["channel"] for row in listed)
    issued = json.loads((folder / "certificate.json").read_text())
    assert {limit["where"]["channel"]: (used[limit["where"]["channel"]], limit["at_most"]) for limit in issued["limits"]} == {
        channel: (limit["used"], SEATS[channel]) for limit in issued["limits"] for channel in limit["where"].values()}  # fmt: skip
    assert all(used[channel] <= seats for channel, seats in SEATS.items()) and used["sms"] == 20
    # An independent look at the same cells: the list's worth, and the dual at the printed prices.
    office = office_at(exploring, clock)
    plan = make_plan(office.engine, office.ledger, ["all_year"], clock.now)
    milli = {limit["where"]["channel"]: limit["price_milli"] for limit in issued["limits"]}
    value, dual = 0, sum(milli[channel] * seats for channel, seats in SEATS.items())
    channels = [c.id for c in office.engine.catalogue.channels]
    chosen = {row["customer_id"]: row for row in listed}
    best, drawn_best = defaultdict[int, int](int), defaultdict[int, int](int)
    seen, open_cells = 0, 0
    for customers in chunks(plan.inputs):
        open_ = suppress(customers, plan.inputs.terms).open
        values = cell_values(office.engine.score(customers, open_), plan.inputs.terms)
        for place, customer in enumerate(customers.column("customer_id").to_pylist()):
            drawn, chooser = plan.cleared.drawn[seen], int(plan.cleared.market.chooser[seen])
            for cell, worth in enumerate(values.gross[place].tolist()):
                if open_[place, cell] and values.known[place, cell]:
                    surplus = worth * 1_000 - milli[channels[cell % 5]]
                    best[chooser] = max(best[chooser], surplus)
                    if drawn in (-1, cell):
                        drawn_best[chooser] = max(drawn_best[chooser], surplus)
                    open_cells += 1
            if customer in chosen:
                cell = office.engine.catalogue.cell(chosen[customer]["offer_id"], chosen[customer]["channel"])
                value += int(values.gross[place, cell])
                assert open_[place, cell]
            seen += 1
    office.close()
    assert (np.asarray(plan.cleared.drawn) >= 0).any(), "somebody explores"
    dual, drawn_dual = ((dual + sum(found.values())) // 1_000 for found in (best, drawn_best))
    assert open_cells > 1_000 and issued["value_minor"] == value and issued["bound_minor"] == dual >= value
    assert issued["drawn_bound_minor"] == drawn_dual and dual > drawn_dual >= value, "exploring costs something"
    assert issued["gap_share"] == round((dual - value) / dual, 6) and (drawn_dual - value) / drawn_dual < 0.001
    assert check_list(folder).wrong == []


def test_p16_the_checker_catches_a_list_or_certificate_that_was_touched(exploring: Path, tmp_path: Path) -> None:
    """Each forgery is one a careless or dishonest hand might make; the last is a bound over the scored cells alone."""
    whole = Path(str(make_list(Home.open(exploring), ["all_year"], NOW).path))
    told = json.loads((whole / "certificate.json").read_text())
    offers, market = pq.read_table(whole / "offers.parquet"), pq.read_table(whole / "cells.parquet")
    assert check_list(whole).wrong == []

    def touched(name: str, change: Any) -> list[str]:
        folder = tmp_path / name
        shutil.copytree(whole, folder)
        change(folder)
        return check_list(folder).wrong

    def certified(**changes: Any) -> Any:
        return lambda folder: (folder / "certificate.json").write_text(json.dumps(told | changes))

    twice = pa.concat_tables([offers, offers.slice(0, 1)])
    dear = [limit | {"price_milli": limit["price_milli"] + 1_000_000} for limit in told["limits"]]
    below = [limit | {"price_milli": -1} for limit in told["limits"]]
    wider = [limit | {"at_most": limit["at_most"] + 5} for limit in told["limits"]]
    fewer = [limit | {"used": limit["used"] + 1} for limit in told["limits"]]
    first, rest = told["limits"][0], told["limits"][1:]
    both, again = first | {"at_least": 0}, [*told["limits"], first | {"price_milli": 0}]
    lies = [[first | lie, *rest] for lie in ({"asked": 5}, {"possible": 99}, {"asked": 99, "possible": 5})]
    worth = offers.schema.get_field_index("expected_value_minor")
    dearer = pa.chunked_array([[n + (k == 0) * 1_000_000 for k, n in enumerate(offers.column(worth).to_pylist())]], pa.int64())  # fmt: skip
    best_alone = market.set_column(
        market.schema.get_field_index("gross_minor"), "gross_minor", _best_alone(market.column("gross_minor"))
    )
    forgeries = {
        "value": certified(value_minor=told["value_minor"] + 1), "bound": certified(bound_minor=told["bound_minor"] - 1),
        "draws": certified(bound_minor=told["drawn_bound_minor"]), "gap": certified(gap_share=told["gap_share"] / 2),
        "prices": certified(limits=dear), "below": certified(limits=below), "room": certified(limits=wider), "used": certified(limits=fewer),
        "twice": lambda folder: pq.write_table(twice, folder / "offers.parquet"),
        "shorter": lambda folder: pq.write_table(offers.slice(1), folder / "offers.parquet"),
        "both sides": certified(limits=[both, *rest]), "no side": certified(limits=[first | {"at_most": 0, "at_least": 0}, *rest]),
        "one name": certified(limits=again), **{f"lie {k}": certified(limits=found) for k, found in enumerate(lies)},
        "doubled": lambda folder: pq.write_table(pa.concat_tables([market, market.slice(0, 1)]), folder / "cells.parquet"),
        "worth": lambda folder: pq.write_table(offers.set_column(worth, "expected_value_minor", dearer), folder / "offers.parquet"),
        "cells": lambda folder: pq.write_table(best_alone, folder / "cells.parquet"),
    }  # fmt: skip
    passed = [name for name, change in forgeries.items() if not touched(name, change)]
    assert passed == []


def _best_alone(gross: pa.ChunkedArray) -> pa.Array:
    """Of each customer's values the best; the others 0, as if they had never been priced."""
    kept = [[value if value == max(row) else -(10**6) for value in row] for row in gross.to_pylist()]
    return pa.array(kept, pa.list_(pa.int64()))


def test_what_is_held_out_is_control_and_never_offered(bank: Path) -> None:
    answer_ = make_list(Home.open(bank), BOTH, NOW)
    folder = Path(str(answer_.path))
    tables = {
        name: pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("offers", "control", "suppressed")
    }
    units = sorted({row["unit_id"] for found in tables.values() for row in found})
    shares = share_of(Home.open(bank).secret(), "holdout", "2026H1", units)
    held = {unit for unit, share in zip(units, shares, strict=True) if share < HOLDOUT_SHARE}
    assert held and tables["control"] and {row["unit_id"] for row in tables["control"]} <= held
    assert not held & {row["unit_id"] for row in tables["offers"]}
    ids = [row["customer_id"] for found in tables.values() for row in found]
    assert len(ids) == len(set(ids)) == answer_.funnel.customers == 1_200
    assert {row["reason_name"] for row in tables["control"]} == {"holdout"}
    assert all(row["reasons"] and row["reason"] in row["reasons"] for row in tables["suppressed"])


def test_the_funnel_adds_up(bank: Path) -> None:
    counted = make_list(Home.open(bank), BOTH, NOW, dry_run=True).funnel
    assert list(counted.after.values()) == sorted(counted.after.values(), reverse=True)
    assert counted.after["value"] == counted.chosen
    assert counted.customers == counted.chosen + sum(counted.decisive.values())
    assert counted.holdout == counted.decisive["holdout"]
    assert all(counted.met[slug] >= count for slug, count in counted.decisive.items())
    for slug in counted.met:
        ReasonCode.of(slug)


def test_the_manifest_hashes_every_file_and_names_what_decided(bank: Path) -> None:
    answer_ = make_list(Home.open(bank), BOTH, NOW)
    folder = Path(str(answer_.path))
    manifest = read_manifest(folder)
    there = {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert there == set(manifest.files) == {"offers.parquet", "control.parquet", "suppressed.parquet", "offers.csv", "certificate.json", "report.html", "report.json", "cells.parquet",
                                            *(f"offers-{channel}.csv" for channel in SEATS)}  # fmt: skip
    for name, sha in manifest.files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha
    assert manifest.campaigns == ("all_year", "dollars") and not manifest.degraded and manifest.lost == 0
    assert {"terms", "policy", "catalogue", "model_interest"} <= set(manifest.revisions)
    terms = {row["terms"] for row in pq.read_table(folder / "offers.parquet", columns=["terms"]).to_pylist()}
    assert len(terms) == 1


def test_every_listed_contact_is_reserved_as_listed(bank: Path, clock: Clock) -> None:
    answer_ = make_list(Home.open(bank), BOTH, NOW)
    listed = {row["contact_id"]: row for row in pq.read_table(Path(str(answer_.path)) / "offers.parquet").to_pylist()}
    office = office_at(bank, clock)
    found = rows(
        office,
        "SELECT contact_id, customer_id, offer_id, channel, campaign_id, state FROM contacts WHERE decision_id = ?",
        answer_.run,
    )
    assert len(found) == len(listed) == answer_.contacts > 200
    for contact, customer, offer, channel, campaign, state in found:
        row = listed[contact]
        assert (row["customer_id"], row["offer_id"], row["channel"], row["campaign_id"], state) == (
            customer,
            offer,
            channel,
            campaign,
            "reserved",
        )
        assert row["send_after"] < row["send_before"] and row["send_after"] >= NOW
    assert not ask(office, str(found[0][1])).choices, "the list's contact counts at the endpoint at once"
    office.close()


def test_p03_the_same_run_twice_is_the_same_list_and_no_second_contact(bank: Path, clock: Clock) -> None:
    home = Home.open(bank)
    first = make_list(home, BOTH, NOW)
    before = {path.name: path.read_bytes() for path in Path(str(first.path)).iterdir()}
    assert make_list(home, ["dollars", "all_year", "dollars"], NOW) == first
    assert {path.name: path.read_bytes() for path in Path(str(first.path)).iterdir()} == before
    office = office_at(bank, clock)
    assert rows(office, "SELECT count(*) FROM contacts WHERE source = 'decision'") == [(first.contacts,)]
    office.close()


def test_p02_a_crash_between_reserving_and_writing_leaves_the_next_try_the_same_list(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bank, tmp_path / "calm")
    calm = make_list(Home.open(tmp_path / "calm"), BOTH, NOW)

    def crash(*_: object) -> Path:
        raise RuntimeError("power cut")

    monkeypatch.setattr(command, "write_list", crash)
    with pytest.raises(RuntimeError):
        make_list(Home.open(bank), BOTH, NOW)
    assert list((bank / "lists").iterdir()) == []
    monkeypatch.undo()
    again = make_list(Home.open(bank), BOTH, NOW)
    assert again.lost == 0
    for name in ("offers.csv", "offers.parquet", "certificate.json", "manifest.json"):
        assert (Path(str(again.path)) / name).read_bytes() == (Path(str(calm.path)) / name).read_bytes(), name


def test_what_a_crashed_try_reserved_and_the_next_does_not_want_is_recalled(office: Office, clock: Clock) -> None:
    """An opt-out and another system's contact come between the crash and the next try."""
    first = reserve_plan(whole(office, clock), office.ledger)
    keep = sorted(offered(first))
    office.consent(said(clock.now, customer=keep[0]), call()).result(30)
    request = ExternalContactRequest(
        contact_id="x", customer_id=keep[1], channel="branch", purpose=Purpose.MARKETING, sent_at=clock.now
    )
    office.external_contact(request, call()).result(30)
    again = reserve_plan(whole(office, clock), office.ledger)
    assert keep[0] not in offered(again) and keep[1] not in offered(again) and again.lost == ()
    found = rows(
        office,
        "SELECT customer_id, state, close_reason FROM contacts WHERE decision_id = ? AND customer_id IN (?, ?) ORDER BY 1",
        first.run,
        *keep[:2],
    )
    assert found == [(keep[0], "closed", "recalled"), (keep[1], "closed", "recalled")]
    reserved = rows(office, "SELECT count(*) FROM contacts WHERE decision_id = ? AND state = 'reserved'", first.run)
    assert reserved == [(len(offered(again)),)]


# ---- another door was faster ---------------------------------------------------------------------


def _asked(office: Office, clock: Clock) -> None:
    assert ask(office).choices


def _opted_out(office: Office, clock: Clock) -> None:
    office.consent(said(clock.now), call()).result(30)


def _withdrew(office: Office, clock: Clock) -> None:
    move(office, "cash_withdrawal", -1_150_000, 50_000, clock.now)


def _contacted(office: Office, clock: Clock) -> None:
    request = ExternalContactRequest(
        contact_id="x", customer_id=HERO, channel="sms", purpose=Purpose.MARKETING, sent_at=clock.now
    )
    office.external_contact(request, call()).result(30)


def _married(office: Office, clock: Clock) -> None:
    office.ledger.write(lambda c: assign_units(c, {HERO: "H0000002"})).result(30)


@pytest.mark.parametrize("meanwhile", [_asked, _opted_out, _withdrew, _contacted, _married])
def test_p12_p01_whoever_changed_between_reading_and_reserving_is_lost(
    office: Office, clock: Clock, meanwhile: Any
) -> None:
    plan = whole(office, clock)
    assert HERO in offered(plan)
    meanwhile(office, clock)
    done = reserve_plan(plan, office.ledger)
    assert done.lost == (HERO,) and HERO not in offered(done)
    assert rows(office, "SELECT count(*) FROM contacts WHERE decision_id = ? AND customer_id = ?", plan.run, HERO) == [
        (0,)
    ]
    assert len(offered(done)) == len(offered(plan)) - 1
    [row] = [row for row in done.decisions.to_pylist() if row["customer_id"] == HERO]
    assert row["reason"] == ReasonCode.CONTACT_UNKNOWN


def test_p30_a_pause_between_reading_and_reserving_takes_out_what_it_names_and_no_more(
    office: Office, clock: Clock
) -> None:
    plan = whole(office, clock)
    office.switch(SwitchRequest(scope="channel:sms", action=SwitchAction.PAUSE), call()).result(30)
    done = reserve_plan(plan, office.ledger)
    by_sms = {customer for customer, row in offered(plan).items() if row["channel"] == "sms"}
    assert by_sms and set(done.lost) == by_sms and set(offered(done)) == set(offered(plan)) - by_sms
    reasons = {row["reason"] for row in done.decisions.to_pylist() if row["customer_id"] in by_sms}
    assert reasons == {ReasonCode.PAUSED}
    assert rows(office, "SELECT count(*) FROM contacts WHERE decision_id = ? AND channel = 'sms'", plan.run) == [(0,)]


def test_p11_no_household_has_two_contacts_in_a_list(office: Office, clock: Clock) -> None:
    plan = whole(office, clock)
    units = Counter(row["unit_id"] for row in offered(plan).values())
    assert max(units.values()) == 1
    members = Counter(row["unit_id"] for row in plan.decisions.to_pylist())
    assert sum(members[unit] > 1 for unit in units) > 20, "households are among them"


def test_p07_a_stale_snapshot_makes_an_empty_list_that_says_so(bank: Path) -> None:
    home = Home.open(bank)
    write_settings(bank / "bank.yaml", home.settings.model_copy(update={"now": UNTIL + timedelta(days=12)}))
    answer_ = make_list(Home.open(bank), BOTH, UNTIL + timedelta(days=12))
    assert answer_.degraded and answer_.contacts == 0
    first = command.plan_lines(answer_, "CNY")[0]
    assert first.startswith("DEGRADED, everyone stays silent: the newest snapshot is of ")
    assert first.endswith("; nbo features build")


# ---- bad input -----------------------------------------------------------------------------------


def test_an_unknown_campaign_is_named_with_those_there_are(bank: Path) -> None:
    with pytest.raises(CampaignError) as error:
        make_list(Home.open(bank), ["all_year", "nope"], NOW)
    assert str(error.value) == f"no campaign `nope` in `{Home.open(bank).campaigns}`; there are: all_year, dollars"
    with pytest.raises(CampaignError):
        make_list(Home.open(bank), ["../../etc"], NOW)


def test_a_campaign_that_is_over_makes_no_list(bank: Path) -> None:
    path = bank / "campaigns" / "dollars.yaml"
    path.write_text(path.read_text("utf-8").replace("to: 2035-12-31", "to: 2026-05-31"), "utf-8")
    with pytest.raises(CampaignError) as error:
        make_list(Home.open(bank), ["dollars"], NOW)
    assert (
        str(error.value) == "campaign `dollars` runs from 1993-01-01 to 2026-05-31, not on 2026-06-01; mend its window"
    )


def test_campaigns_without_common_hours_make_no_list(bank: Path) -> None:
    path = bank / "campaigns" / "dollars.yaml"
    path.write_text(
        path.read_text("utf-8").replace('{after: "10:00", before: "19:00"}', '{after: "19:00", before: "20:00"}'),
        "utf-8",
    )
    with pytest.raises(CampaignError, match="share no sending hours"):
        make_list(Home.open(bank), BOTH, NOW)
    assert make_list(Home.open(bank), ["dollars"], NOW, dry_run=True).contacts > 0


def test_a_list_of_the_future_is_not_made(bank: Path) -> None:
    home, tomorrow = Home.open(bank), NOW + timedelta(days=1)
    with pytest.raises(
        PlanError,
        match="as-of `2026-06-02T02:00:00Z` lies after the home's present; choose an earlier one, or --dry-run",
    ):
        make_list(home, BOTH, tomorrow)
    assert make_list(home, BOTH, tomorrow, dry_run=True).contacts > 0


def test_a_list_folder_without_its_manifest_is_not_overwritten(office: Office, clock: Clock, tmp_path: Path) -> None:
    plan = whole(office, clock, ["dollars"])
    (tmp_path / plan.run).mkdir()
    with pytest.raises(ListError, match="is there without its manifest"):
        write_list(plan, tmp_path)


def test_a_run_is_named_after_its_campaigns_in_any_order() -> None:
    assert run_name(["b", "a"], NOW) == run_name(["a", "b", "a"], NOW) == "20260601T020000Z-a+b"
    many = [f"campaign_{n}" for n in range(9)]
    assert run_name(many, NOW) == run_name(many[::-1], NOW) != run_name(many[1:], NOW)
    assert len(run_name(many, NOW)) < 64


def test_the_answer_of_a_written_run_is_read_back_whole(bank: Path) -> None:
    home = Home.open(bank)
    first = make_list(home, ["dollars"], NOW)
    assert Manifest.model_validate_json((Path(str(first.path)) / "manifest.json").read_bytes()).funnel == first.funnel
    assert make_list(home, ["dollars"], NOW) == first
    assert np.isclose(
        first.certificate.gap_share, 1 - first.certificate.value_minor / first.certificate.bound_minor, atol=1e-6
    )
