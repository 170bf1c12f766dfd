"""Labels, contrast, keyboard order and width of every page, in both languages and at two widths."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from serving.console.app import PAGES
from tests.home import HERO, ask
from tests.serving.console.walking import LOOKS, overflow

STANDARD = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
QUICK = ("en-1280", "zh-390")
TABS_MOST = 40
# What Tab should reach, in the order of reading; then a note of each place it does reach, and whether one sees that.
WATCH = """() => {
  const seen = element => element.checkVisibility({visibilityProperty: true}) && !element.disabled;
  const wanted = "a[href],button,input:not([type=hidden]),select,textarea,summary,[tabindex='0']";
  const order = [...document.querySelectorAll(wanted)].filter(seen);
  window.trail = [];
  document.addEventListener("focusin", event => {
    const style = getComputedStyle(event.target);
    window.trail.push([order.indexOf(event.target), style.outlineStyle !== "none", event.target.outerHTML.slice(0, 100)]);
  });
  document.activeElement.blur();
  document.body.tabIndex = -1;
  document.body.focus();
  return [order.length, document.querySelectorAll('[tabindex]:not([tabindex="0"]):not([tabindex="-1"])').length];
}"""


@pytest.fixture(scope="module")
def paths(bank_served):
    """Every page that there is, with something on it."""
    office = bank_served.office
    inbound = ask(office, "C0000005", "inbound", channels=("call",)).decision_id
    with office.ledger.read() as connection:
        contact = connection.exec_driver_sql(
            "SELECT contact_id FROM contacts WHERE state = 'reserved' AND channel = 'branch'"
        ).scalar()
    ids = {
        "campaign": "all_year",
        "run": bank_served.run,
        "rule": "outflow",
        "change": "first",
        "customer": HERO,
        "decision": inbound,
        "contact": contact,
    }
    found = [
        page.path.format(**ids)
        for page in PAGES
        if page.method == "GET" and "{job}" not in page.path and "{file}" not in page.path
    ]
    found += ["/console/campaigns/all_year?tab=try", "/console/campaigns/all_year?tab=results", "/console/rules?tab=proofs",
              "/console/changes/new?file=catalogue.yaml", f"/console/customers/{HERO}?direction=inbound", "/console/worklist?channel=branch"]  # fmt: skip
    return found


@pytest.mark.parametrize(("look", "part"), [("en-1280", 0), ("zh-390", 1)])
def test_every_page_can_be_read_reached_and_used_without_a_mouse(someone, paths, look, part):
    """Each page once: every other one wide and in English, the others narrow and in Chinese."""
    assert _wrong(someone("boss", look), paths[part::2]) == []


@pytest.mark.long
@pytest.mark.parametrize("look", LOOKS)
def test_every_page_in_every_look(someone, paths, look):
    assert _wrong(someone("boss", look), paths) == []


@pytest.mark.parametrize("look", LOOKS)
def test_the_sign_in_page_too(chromium, bank_served, look):
    tongue, width = LOOKS[look]
    context = chromium.new_context(
        base_url=bank_served.address,
        locale="zh-CN" if tongue == "zh" else "en-GB",
        viewport={"width": width, "height": 800},
    )
    page = context.new_page()
    page.goto("/console/sign-in")
    assert Axe().run(page, options=STANDARD).violations_count == 0
    assert page.evaluate("document.activeElement.id") == "name"
    assert _travelled(page) == []
    assert overflow(page) <= 0
    context.close()


def _wrong(boss, paths):
    """A line for each thing that is wrong with one of the pages."""
    axe, wrong = Axe(), []
    for path in paths:
        page = boss.go(path)
        for violation in axe.run(page, options=STANDARD).response["violations"]:
            wrong += [
                f"{path}: {violation['id']}: {node['html'][:160]}: {node.get('failureSummary', '')[:200]}"
                for node in violation["nodes"][:3]
            ]
        if overflow(page) > 0:
            wrong.append(f"{path}: {overflow(page)} px wider than the window")
        wrong += [f"{path}: {line}" for line in _travelled(page)]
    return wrong


def _travelled(page):
    """What is wrong with the way of the Tab key: its order is the order of reading, and one sees where one is."""
    n, jumps = page.evaluate(WATCH)
    for _ in range(min(n, TABS_MOST)):
        page.keyboard.press("Tab")
    trail = page.evaluate("window.trail")
    places = [place for place, _, _ in trail if place >= 0]
    said = [f"{jumps} elements jump the order"] if jumps else []
    said += ["Tab does not go in the order of reading"] if places != sorted(places) else []
    said += [
        f"one does not see that this has the focus: {html}"
        for place, visible, html in trail
        if place >= 0 and not visible
    ]
    return said + ([f"Tab reaches {len(set(places))} of {n}"] if len(set(places)) < min(n, TABS_MOST) - 12 else [])
