"""Each user's main job in a real browser, and the two stories that decide: the dollars, and an approval."""

import re

import pytest

from tests.home import DOLLAR_OFFERS, HERO, HERO_DOLLARS, ask, move

LONG = pytest.mark.long
WIDE = pytest.mark.parametrize("look", ["en-1280", pytest.param("zh-390", marks=LONG)])
NARROW = pytest.mark.parametrize("look", [pytest.param("en-1280", marks=LONG), "zh-390"])
ALL = pytest.mark.parametrize(
    "look",
    [
        pytest.param("en-390", marks=LONG),
        pytest.param("zh-1280", marks=LONG),
        "en-1280",
        "zh-390",
    ],
)
LEFT = 1_150_000


@ALL
def test_the_usd_story_reads_off_the_customers_page(bank_served, someone, look):
    """He holds dollars; they leave; every dollar offer is closed with its reason and its end; they come back."""
    office, clock = bank_served.office, bank_served.clock
    lin = someone("lin", look)
    dollars = [offer.title for offer in office.engine.catalogue.offers if offer.id in DOLLAR_OFFERS]
    title = next(part.title for part in office.engine.policy.parts if part.id == "outflow")

    def rows() -> dict[str, list[str]]:
        lin.go(f"/console/customers/{HERO}?direction=inbound")
        table = lin.page.locator("table.cells tbody tr")
        found, offer = {}, ""
        for row in table.all():
            head = row.locator("th")
            offer = head.inner_text().split("\n")[0] if head.count() else offer
            found.setdefault(offer, []).append(row.inner_text())
        return found

    gone = lin.says("the money of this currency has just left", "该币种资金刚流出")
    before = rows()
    assert all(gone not in line for one in dollars for line in before[getattr(one, lin.tongue)])
    move(office, "cash_withdrawal", -LEFT, HERO_DOLLARS - LEFT, clock.forward(minutes=1))
    after = rows()
    for one in dollars:
        assert all(gone in line and getattr(title, lin.tongue) in line for line in after[getattr(one, lin.tongue)])
    assert any(
        gone not in line
        for offer, lines in after.items()
        for line in lines
        if offer not in {getattr(one, lin.tongue) for one in dollars}
    )
    held = lin.page.locator("section.holds").inner_text()
    assert getattr(title, lin.tongue) in held
    assert re.search(lin.says(r"until 2026-\d\d-\d\d", r"至 2026-\d\d-\d\d"), held)
    assert "11,500.00 USD" in held
    timeline = lin.page.locator("table.timeline").inner_text()
    assert lin.says("cash withdrawn", "取现") in timeline
    lin.shot("story")
    move(office, "cash_deposit", LEFT, HERO_DOLLARS, clock.forward(minutes=1))
    back = rows()
    assert all(gone not in line for one in dollars for line in back[getattr(one, lin.tongue)])
    assert lin.page.locator("section.holds").count() == 0


@ALL
def test_a_campaign_is_proposed_approved_by_another_and_in_force(bank_served, someone, look):
    """Marketing writes it, compliance looks, approves and puts it into force; the author could not."""
    name = f"summer_{look.replace('-', '_')}"
    mei, lin = someone("mei", look), someone("lin", look)
    page = mei.go("/console/campaigns/new")
    for field, value in (("id", name), ("title_en", f"Summer {look}"), ("title_zh", f"夏季 {look}"), ("owner", "mei"),
                         ("from", "2026-01-01"), ("to", "2027-12-31"), ("seats_sms", "40"), ("audience", "age_years >= 30")):  # fmt: skip
        page.fill(f"#{field}", value)
    page.check("input[name=families][value=deposit]")
    assert page.locator("[name=approved_by]").count() == 0  # nobody is asked: the second person is, by approving
    mei.shot("campaign-form")
    mei.press("Hand in for approval", "提交审批")
    change = page.url.partition("?")[0]
    assert mei.says("checked", "已检查") in page.locator(".tag.big").inner_text()
    assert page.get_by_role("button", name=mei.says("Approve", "批准"), exact=True).count() == 0
    assert mei.says("mei` is the author", "mei` 是提出人") in mei.text()
    assert mei.says(f"campaign `{name}` added", f"活动 `{name}` 新增") in mei.text()
    page = lin.go(change)
    assert f"campaigns/{name}.yaml" in lin.text()
    assert "seats" in page.locator("pre.diff").inner_text()
    page.fill("#note-approve", "looked at it")
    lin.shot("approval")
    lin.press("Approve", "批准")
    assert lin.says("approved", "已批准") in page.locator(".tag.big").inner_text()
    lin.press("Put into force", "使其生效")
    assert lin.says("activated", "已生效") in page.locator(".tag.big").inner_text()
    assert name in bank_served.office.engine.campaigns
    assert mei.says("Summer", "夏季") in mei.go(f"/console/campaigns/{name}").inner_text("h1")
    assert re.search(mei.says(r"approved by\s+lin\b", r"批准人\s+lin\b"), mei.text()), (
        "the second person is who approved"
    )


@NARROW
def test_compliance_changes_a_rule_and_another_rejects_it_with_a_reason(bank_served, someone, look):
    lin, wang = someone("lin", look), someone("wang", look)
    page = lin.go("/console/changes/new?file=catalogue.yaml")
    assert page.input_value("#text").startswith("#")
    page = lin.go("/console/changes/new?file=policies/retail.yaml")
    page.fill("#text", "nonsense: [")
    page.fill("#note", "a slip")
    lin.press("Hand in for approval", "提交审批")
    assert "policies/retail.yaml" in page.get_by_role("alert").inner_text()
    assert page.input_value("#text") == "nonsense: ["  # nothing of it is lost
    mei = someone("mei", look)
    page = mei.go("/console/campaigns/all_year/edit")
    page.fill("#seats_branch", "5")
    mei.press("Hand in for approval", "提交审批")
    change = page.url.partition("?")[0]
    page = wang.go(change)
    page.fill("#note-reject", "too few for the branches")
    wang.press("Reject", "否决")
    assert "too few for the branches" in wang.text()
    assert wang.says("rejected", "已否决") in page.locator(".tag.big").inner_text()
    assert bank_served.office.engine.campaigns["all_year"].seats["branch"] != 5


@WIDE
def test_the_desk_finds_offers_tells_and_what_he_says_acts_at_once(bank_served, someone, look):
    customer = {"en-1280": "C0000002", "zh-390": "C0000008"}[look]
    li = someone("call-li", look)
    page = li.go("/console/desk")
    page.fill("#customer", customer)
    page.press("#customer", "Enter")
    page.wait_for_url("**/console/desk/d*")
    offered = page.locator("section.answer h2").all_inner_texts()
    assert offered
    li.shot("desk")
    if li.says("Offer nothing", "不作推荐") in offered:
        pytest.fail(f"{customer} has nothing to be offered in this bank; choose another")
    li.press("Refuses", "拒绝")
    assert li.says("refused", "拒绝") in page.locator("section .told").first.inner_text()
    page.fill("#customer", customer)
    page.press("#customer", "Enter")
    page.wait_for_load_state()
    again = page.locator("section.answer h2").all_inner_texts()
    assert offered[0].partition(". ")[2] not in " ".join(again)


@NARROW
def test_a_manager_claims_the_dearest_call_and_says_what_came_of_it(bank_served, someone, look):
    boss = someone("boss", look)
    page = boss.go("/console/worklist?channel=branch")
    managers = page.locator("#manager option").all_inner_texts()
    for name in ["", *managers[1:]]:
        page = boss.go(f"/console/worklist?channel=branch&manager={name}")
        if page.locator("table tbody tr").count():
            break
    values = [
        float(text.replace(",", "").split()[0]) for text in page.locator("tbody tr td:nth-child(4)").all_inner_texts()
    ]
    assert values == sorted(values, reverse=True)
    assert values
    boss.shot("worklist")
    page.locator("tbody tr a").first.click()
    boss.press("I speak to him now", "开始联系")
    assert boss.says("Claimed", "已申领") in page.get_by_role("status").first.inner_text()
    boss.press("Accepts", "接受")
    assert boss.says("accepted", "接受") in boss.text()
    contact = page.url.rpartition("/")[2].partition("?")[0]
    with bank_served.office.ledger.read() as connection:
        assert (
            connection.exec_driver_sql("SELECT state FROM contacts WHERE contact_id = ?", (contact,)).scalar() == "sent"
        )


@WIDE
def test_one_pauses_and_two_resume(bank_served, someone, look):
    mei, lin = someone("mei", look), someone("lin", look)
    page = mei.go("/console/today")
    page.select_option("#scope", "channel:sms")
    page.fill("#note", "the gateway sends twice")
    mei.press("Pause", "暂停")
    assert mei.says("channel: text message", "渠道: 短信") in page.locator(".note").first.inner_text()
    page.fill("#resume-1", "mended")
    mei.press("Ask to resume", "申请恢复")
    page = lin.go("/console/today")
    page.fill("#resume-1", "seen it run")
    lin.press("Agree to resume", "同意恢复")
    assert lin.says("Nothing is paused.", "没有暂停。") in lin.text()
    lin.shot("today")


@NARROW
def test_a_decision_shows_its_record_its_replay_and_its_seal(bank_served, someone, look):
    office = bank_served.office
    decision = ask(office, "C0000020").decision_id
    lin = someone("lin", look)
    lin.go("/console/decisions").fill("#id", decision)
    lin.press("Show", "查看")
    assert lin.says("give the same bytes again", "结果逐字节一致") in lin.text()
    assert lin.says("No seal covers it yet", "尚未封印") in lin.text()
    from serving.sealer import seal_all

    seal_all(office.ledger, office.engine.vault.keyring)
    lin.page.reload()
    assert lin.page.locator(".holds-yes").count() == 6
    assert lin.page.locator(".holds-no").count() == 0
    lin.shot("decision")


@WIDE
def test_a_list_is_looked_at_taken_away_and_recalled(bank_served, someone, look):
    mei, lin = someone("mei", look), someone("lin", look)
    page = mei.go(f"/console/lists/{bank_served.run}")
    assert page.locator("section[aria-labelledby=rows] tbody tr").count() == 50
    with page.expect_download() as loaded:
        page.get_by_role("link", name="offers.csv", exact=True).click()
    text = loaded.value.path().read_text()
    assert text.startswith("customer_id,offer_id,channel")
    page.get_by_role("link", name=re.compile("next page|下一页")).click()
    assert "page=2" in page.url
    mei.shot("list")
    page = lin.go(f"/console/lists/{bank_served.run}")
    assert page.get_by_role("link", name="offers.csv", exact=True).count() == 0
    assert lin.context.request.get(f"{bank_served.address}/console/lists/{bank_served.run}/offers.csv").status == 403


@pytest.mark.long
def test_a_dry_run_with_a_variant_beside_it_reserves_nothing(bank_served, someone):
    mei = someone("mei")
    page = mei.go("/console/campaigns/dollars?tab=try")
    with bank_served.office.ledger.read() as connection:
        before = connection.exec_driver_sql("SELECT count(*) FROM contacts").scalar()
    page.fill("#seats1_call", "3")
    page.select_option("#without2", "outflow")
    mei.press("Start the dry run", "开始试运行")
    page.wait_for_url("**tab=try&job=*", timeout=120_000)
    heads = page.locator("table.beside thead th").all_inner_texts()
    assert heads == ["as it stands", "variant 1", "variant 2"]
    assert page.evaluate("document.querySelector('figure img').naturalWidth") > 100
    assert "no list that keeps the limits is worth more than" in mei.text()
    mei.shot("dry-run")
    with bank_served.office.ledger.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM contacts").scalar() == before


@pytest.mark.long
def test_proofs_verification_results_and_measurement_run_aside(bank_served, someone):
    boss = someone("boss")
    for path, button, said in (("/console/rules?tab=proofs", "Prove now", "invariants are proved"), ("/console/decisions", "Verify now", "Whole"),
                               ("/console/campaigns/all_year?tab=results", "Count now", "issued"), ("/console/models", "Measure what came since", "Since then")):  # fmt: skip
        page = boss.go(path)
        boss.press(button, "")
        page.wait_for_url("**job=*", timeout=200_000)
        assert said in boss.text(), path
        boss.shot(page.url.partition("?")[0].rpartition("/")[2])
