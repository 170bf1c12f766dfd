"""A campaign file holds or is refused in one line with file, line and remedy."""

from pathlib import Path

import pytest

from rules.catalogue import load_catalogue
from serving.campaign import CampaignError, load_campaign, load_campaigns
from tests.bank import POLICIES

GOOD = """id: spring
title: {en: Spring, zh: 春}
owner: marketing
offers: [card_gold]
families: [wealth]
channels: [sms, email]
audience: age_years >= 30
window: {from: 2026-03-01, to: 2026-05-31}
send: {after: "09:00", before: "18:00"}
seats: {sms: 10}
"""


def written(folder: Path, old: str = "", new: str = "") -> Path:
    path = folder / "spring.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new) if old else GOOD, "utf-8")
    return path


def test_a_good_file_says_what_it_offers_to_whom(tmp_path: Path) -> None:
    campaign = load_campaign(written(tmp_path))
    audience = campaign.audience_of(load_catalogue(POLICIES / "retail.catalogue.yaml"))
    assert audience.offers == ("wealth_usd_income", "wealth_cny_balanced", "wealth_eur_bond", "card_gold")
    assert (audience.channels, audience.when, campaign.seats) == (("sms", "email"), "age_years >= 30", {"sms": 10})
    days = [campaign.window.from_, campaign.window.to]
    assert [campaign.in_force(day) for day in days] == [True, True]
    assert not campaign.in_force(days[0].replace(month=2)) and not campaign.in_force(days[1].replace(month=6, day=1))


@pytest.mark.parametrize(("old", "new", "line", "what"), [
    ("id: spring\n", "", 1, "`id` is missing; add it"),
    ("offers: [card_gold]", "ofers: [card_gold]", 4, "unknown key `ofers`: did you mean `offers`?"),
    ("owner: marketing", "owner: ''", 3, "`owner` is ``: string should have at least 1 character"),
    ("seats: {sms: 10}", "seats: {sms: -1}", 10, "`seats.sms` is `-1`: input should be greater than or equal to 0"),
    ("seats: {sms: 10}", "seats: {sms: many}", 10, "`seats.sms` is `many`: input should be a valid integer, unable to parse string as an integer"),
    ("from: 2026-03-01", "from: 2026-13-01", 8, "`window.from` is `2026-13-01`: input should be a valid date or datetime, month value is outside expected range of 1-12"),
    ("from: 2026-03-01", "from: 2026-06-01", 8, "`window` ends on 2026-05-31, before it begins on 2026-06-01; swap the two"),
    ('after: "09:00"', 'after: "18:00"', 9, "`send` ends at 18:00, not after its begin at 18:00; mend one of the two"),
    ('after: "09:00"', 'after: "9:00"', 9, r"`send.after` is `9:00`: string should match pattern '^([01]\d|2[0-3]):[0-5]\d$'"),
    ("id: spring", "id: Spring", 1, r"`id` is `Spring`: string should match pattern '^[a-z][a-z0-9_]{0,47}$'"),
    ("owner: marketing", "owner: marketing\nowner: me", 4, "key `owner` stands twice; remove one"),
    ("seats: {sms: 10}", "approved_by: ' Marketing '", 1, "`approved_by` is the owner, `marketing`; somebody else has to approve"),
    ("seats: {sms: 10}", "schedule: {cron: '0 8 * *'}", 10, "`cron` has 4 fields; minute, hour, day, month and weekday are five"),
    ("seats: {sms: 10}", "schedule: {cron: '0 8 * * 1', zone: Asia/Shangai}", 10, "`zone` is `Asia/Shangai`: did you mean `Asia/Shanghai`?"),
    ("seats: {sms: 10}", "schedule: {cron: '0 8 * * 1', missed: lats}", 10, "`schedule.missed` is `lats`: did you mean `last`?"),
    ("seats: {sms: 10}", "minimums: {card_gold: 9}\ninventory: {card_gold: 8}", 1, "`minimums` asks for 9 of `card_gold`, `inventory` has 8; mend one of the two"),
    ("seats: {sms: 10}", "holdout_share: 0.6", 10, "`holdout_share` is `0.6`: input should be less than or equal to 0.5"),
    ("seats: {sms: 10}", "exploration_share: 0.2", 10, "`exploration_share` is `0.2`: input should be less than or equal to 0.1"),
    ("seats: {sms: 10}", "budget_minor: 1.5", 10, "`budget_minor` is `1.5`: input should be a valid integer, unable to parse string as an integer"),
    ("seats: {sms: 10}", "per_managr: {call: 3}", 10, "unknown key `per_managr`: did you mean `per_manager`?"),
    ("seats: {sms: 10}", "seeds: ['=cmd']", 10, r"`seeds` is `=cmd`: string should match pattern '^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$'"),
    ("owner: marketing", "owner: &a marketing", 3, "anchors (`&`, `*`) are not allowed; write the value out"),
])  # fmt: skip
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, old: str, new: str, line: int, what: str) -> None:
    path = written(tmp_path, old, new)
    with pytest.raises(CampaignError) as error:
        load_campaign(path)
    assert str(error.value) == f"{path}:{line}: {what}"


@pytest.mark.parametrize(("old", "new", "what"), [
    ("card_gold", "card_golden", "campaign `spring`: the catalogue has no offer `card_golden`: did you mean `card_gold`?"),
    ("[sms, email]", "[fax]", "campaign `spring`: the catalogue has no channel `fax`; mend one of the two"),
    ("{sms: 10}", "{fax: 10}", "campaign `spring`: the catalogue has no channel `fax`; mend one of the two"),
    ("families: [wealth]", "families: [welth]", "campaign `spring`: the catalogue has no family `welth`: did you mean `wealth`?"),
    ("seats: {sms: 10}", "inventory: {loan_personal: 5}", "campaign `spring` counts or words `loan_personal`, which it does not offer; mend one of the two"),
    ("seats: {sms: 10}", "per_branch: {cal: 5}", "campaign `spring`: the catalogue has no channel `cal`: did you mean `call`?"),
    ("seats: {sms: 10}", "treatments: [{id: gold_smss, legal_footer: x, approved_by: bo, approved_on: 2026-01-01, expires_on: 2026-12-31}]", "campaign `spring`: the catalogue has no treatment `gold_smss`; mend one of the two"),
    ("offers: [card_gold]\nfamilies: [wealth]\n", "", "campaign `spring` offers nothing; name offers or families"),
])  # fmt: skip
def test_a_file_that_does_not_fit_the_catalogue_is_refused(tmp_path: Path, old: str, new: str, what: str) -> None:
    campaign = load_campaign(written(tmp_path, old, new))
    with pytest.raises(CampaignError) as error:
        campaign.audience_of(load_catalogue(POLICIES / "retail.catalogue.yaml"))
    assert str(error.value) == what


def test_two_files_of_one_id_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "summer.yaml").write_text(GOOD, "utf-8")
    with pytest.raises(CampaignError) as error:
        load_campaigns(tmp_path)
    assert str(error.value) == "campaign `spring` stands in two files; give one another id"
    assert load_campaigns(tmp_path / "none") == {}


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "spring.yaml"
    path.mkdir()
    with pytest.raises(CampaignError) as error:
        load_campaign(path)
    assert str(error.value) == f"{path}: cannot be read: is a directory; check the path"
