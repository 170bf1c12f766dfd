"""Who may see which page; what every answer carries; looking writes nothing; errors and emptiness are pages."""

import sqlite3
from html.parser import HTMLParser
from itertools import product

from serving.console.app import PAGES
from serving.console.cookies import LANGUAGE, SESSION
from serving.console.house import SECURITY_HEADERS
from serving.http.messages import EventKind
from tests.home import HERO, HERO_DOLLARS, ask, move
from tests.serving.console.conftest import USERS

READ = [page for page in PAGES if page.method == "GET"]
IDS = {"campaign": "all_year", "run": "20260601T020000Z-none", "file": "offers.csv", "rule": "outflow", "change": "first", "customer": HERO,
       "decision": "dnone", "contact": "lnone", "job": "none", "picture": "a.svg"}  # fmt: skip


def path_of(page) -> str:
    return page.path.format(**IDS)


def test_each_role_sees_its_own_pages_and_no_other(person):
    browsers = {name: person(name) for name in USERS}
    for page, (name, browser) in product(READ, browsers.items()):
        answer = browser.get(path_of(page))
        if USERS[name] in page.roles:
            assert answer.status_code in (200, 303, 404, 422), (page.path, answer.status_code)
        else:
            assert answer.status_code == 403, page.path
            assert "role" in answer.text


def test_nobody_sees_a_page_without_signing_in(stranger):
    for page in PAGES:
        answer = stranger.client.request(page.method, path_of(page), data={} if page.method == "POST" else None)
        assert answer.status_code in (303, 400)
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/console/sign-in")


def test_a_form_without_its_token_changes_nothing(person, office):
    browser = person("boss")
    for page in PAGES:
        if page.method == "POST":
            for data in ({}, {"csrf": "0" * 64}):
                answer = browser.client.post(
                    path_of(page), data=data, headers={"content-type": "application/x-www-form-urlencoded"}
                )
                assert answer.status_code == 403, page.path
    page = browser.get("/console/today")
    forged = browser.client.post("/console/switches", data={"csrf": browser.token(page), "scope": "all", "action": "pause", "note": "x"},
                                 headers={"Sec-Fetch-Site": "cross-site"})  # fmt: skip
    assert forged.status_code == 403
    with office.ledger.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM switches").scalar() == 0


def test_every_answer_carries_the_strict_headers(person):
    browser = person("boss")
    for path in (
        "/console",
        "/console/today",
        "/console/nothing",
        "/console/static/console.css",
        "/console/language?to=zh",
        "/console/sign-in",
    ):
        answer = browser.get(path)
        for header, value in SECURITY_HEADERS.items():
            if header != "Cache-Control" or "static" not in path:
                assert answer.headers[header] == value, (path, header)
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")


class _Inline(HTMLParser):
    """What a strict policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if (
                name == "style"
                or name.startswith("on")
                or (name in ("href", "src", "action") and not str(value).startswith(("/console", "#", "?")))
            ):
                self.found.append(f"{tag} {name}={value}")
        if tag == "style" or (tag == "script" and "src" not in dict(attrs)):
            self.found.append(tag)


def test_no_page_has_an_inline_script_or_style_or_names_another_host(person):
    browser = person("boss")
    for page in READ:
        answer = browser.get(path_of(page))
        if "text/html" in answer.headers.get("content-type", ""):
            parser = _Inline()
            parser.feed(answer.text)
            assert parser.found == [], page.path


def test_looking_writes_no_row(person, office):
    """Every page a GET can reach, and the whole database before and after, byte for byte."""
    move(office, "cash_withdrawal", -1_150_000, HERO_DOLLARS - 1_150_000, office._now())
    decision = ask(office).decision_id
    browsers = [person(name) for name in USERS]

    def rows() -> list[str]:
        connection = sqlite3.connect(office.engine.home.path / "nbo.db")
        try:
            return list(connection.iterdump())
        finally:
            connection.close()

    before = rows()
    for browser in browsers:
        for page in READ:
            browser.get(path_of(page).replace("dnone", decision))
    assert rows() == before


def test_what_is_not_there_is_a_page_with_a_way_back(person):
    browser = person("boss")
    for path in ("/console/nothing", "/console/customers/nobody", "/console/decisions/nothing", "/console/lists/x", "/console/rules/x",
                 "/console/changes/x", "/console/campaigns/x", "/console/worklist/x"):  # fmt: skip
        answer = browser.get(path)
        assert answer.status_code == 404, path
        assert 'role="alert"' in answer.text
        assert 'href="/console"' in answer.text
        assert 'aria-label="Sections"' in answer.text  # the menu he came with
    turned = browser.get("/console/rules/x", cookie=f"{LANGUAGE}=zh; {SESSION}={browser.client.cookies[SESSION]}").text
    assert "没有该规则" in turned
    assert 'role="alert" lang="zh-CN"' in turned


def test_an_error_nobody_expected_is_a_page_that_says_nothing_of_it(person, office, monkeypatch):
    browser = person("boss")
    monkeypatch.setattr(type(office), "in_force", lambda *_: 1 / 0)
    answer = browser.get("/console/today")
    assert answer.status_code == 500
    assert "division" not in answer.text


def test_texts_of_data_are_escaped(person, office):
    office.ledger.write(
        lambda c: c.exec_driver_sql("INSERT INTO consents (consent_id, customer_id, purpose, channel, state, source, at, received_at)"
                                    " VALUES ('x', ?, 'marketing', 'all', 'granted', '<script>alert(1)</script>', 1, 1)", (HERO,))).result()  # fmt: skip
    text = person("lin").get(f"/console/customers/{HERO}").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_ten_thousand_rows_come_fifty_at_a_time(person, office):
    rows = [
        (f"x{k}", HERO, EventKind.PURCHASE.value, -100, "CNY", 1_000 + k, 1_000 + k, 1_000 + k, f"x{k}")
        for k in range(10_000)
    ]
    sql = "INSERT INTO events (event_id, customer_id, kind, amount_minor, currency, booked_at, recorded_at, received_at, transaction_id) VALUES (?,?,?,?,?,?,?,?,?)"
    office.ledger.write(lambda c: c.exec_driver_sql(sql, rows)).result()
    browser = person("lin")
    first, last = (browser.get(f"/console/customers/{HERO}?page={n}").text for n in (1, 10_000))
    assert first.count('class="k-') == 50
    assert "page 1 of 20" in first
    assert 0 < last.count('class="k-') <= 50
    assert browser.get(f"/console/customers/{HERO}?page=-1").text.count('class="k-') == 50


def test_empty_sections_say_so(person):
    browser = person("boss")
    for path, said in (("/console/campaigns", "No list was made yet."), ("/console/today?days=1", "Nothing was issued in this time."),
                       ("/console/worklist", "No open task today."), ("/console/decisions", "The service has decided nothing yet."),
                       ("/console/campaigns/all_year?tab=try", "Nobody has tried it yet."), ("/console/rules?tab=proofs", "Nothing was proved here yet.")):  # fmt: skip
        assert said in browser.get(path).text, path
