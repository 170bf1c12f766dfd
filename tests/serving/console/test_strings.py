"""Every text of the pages is in both languages, and nothing else is in the catalogue."""

import re
from pathlib import Path

import pytest

from rules.reasons import ReasonCode
from serving.console import app, oidc, signing_in, strings, visit, works
from serving.http.messages import ConsentPurpose, ConsentState, ContactState, EventKind, OutcomeKind
from serving.ledger.keys import Role

ROOM = Path(strings.__file__).parent
STATIC = re.compile(r'\bt\(\s*"((?:[^"\\]|\\.)*)"(\s*~)?')
# What the pages refuse with, in whole sentences.
REFUSED = re.compile(r'(?:NotFound|BadRequest|Forbidden|Unprocessable|JobError)\(\s*"([a-z][^"]+)"')
# What is said of a word of the ledger: prefix -> words.
NAMED = {
    "act ": ("approve", "reject", "withdraw", "activate", "rollback"), "channel ": ("sms", "email", "app", "call", "branch", "mail"),
    "consent ": tuple(ConsentState), "contact ": tuple(ContactState), "done ": visit.DONE, "event ": tuple(EventKind),
    "holidays: ": ("run", "skip"), "job ": tuple(works.WORKS),
    "limit ": ("seats", "seats of the day", "seats of the sending hours", "seats of branch", "seats of manager", "inventory", "minimum", "budget"),
    "model ": ("interest", "reach", "harm", "churn", "organic", "value"),
    "moment ": ("contact", "outcome", "event", "consent", "suppression", "decision"), "outcome ": (*OutcomeKind, "proved", "refuted", "unknown"),
    "purpose ": (*ConsentPurpose, "service"), "received ": ("events", "outcomes", "consents"), "role ": tuple(Role), "say ": ("accepted", "refused", "later", "wrong_number", "do_not_call", "no_response"),
    "scope ": ("channel", "family", "offer", "campaign"), "source ": ("import", "external"), "turn ": ("pause", "ask", "resume"),
}  # fmt: skip


def said() -> tuple[set[str], set[str]]:
    """(whole texts, prefixes of named ones) in templates and pages."""
    found = [
        match
        for path in ROOM.rglob("*")
        if path.suffix in (".html", ".py")
        for match in STATIC.findall(path.read_text("utf-8"))
    ]
    return {text for text, more in found if not more}, {text for text, more in found if more}


def expected() -> set[str]:
    whole, _ = said()
    sections = {page.section for page in app.PAGES if page.section}
    messages = {signing_in.WRONG, signing_in.WAIT, signing_in.OUTSIDE, signing_in.STALE, oidc.AWAY, oidc.BROKEN}
    refused = {line for path in ROOM.rglob("*.py") for line in REFUSED.findall(path.read_text("utf-8"))}
    door = {"there is no such decision", "there is no such contact; use the contact_id of a decision"}
    return (
        whole
        | refused
        | door
        | sections
        | messages
        | {"champion", "challenger"}
        | {prefix + str(word) for prefix, words in NAMED.items() for word in words}
    )


def test_every_text_is_in_the_catalogue_and_nothing_else():
    assert set(strings.catalogue()) == expected()


def test_every_kind_of_word_is_known():
    assert said()[1] == set(NAMED)


def test_both_languages_ask_for_the_same_values():
    for key, value in strings.catalogue().items():
        pair = value if isinstance(value, list) else [key, value]
        assert sorted(re.findall(r"{(\w+)}", pair[0])) == sorted(re.findall(r"{(\w+)}", pair[1])), key
        assert all(pair)


@pytest.mark.parametrize(("header", "tongue"), [("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-GB,en;q=0.9,zh;q=0.1", "en"), ("de,fr;q=0.5", "en"), ("", "en"), ("fr,zh-TW;q=0.3", "zh")])  # fmt: skip
def test_the_browser_says_which_language(header, tongue):
    assert strings.preferred(header) == tongue


def test_the_switch_is_kept_in_a_cookie_and_leads_nowhere_else(person):
    browser = person("lin")
    assert ">Today<" in browser.get("/console/today").text
    turned = browser.get("/console/language?to=zh&next=/console/rules")
    assert (turned.status_code, turned.headers["location"]) == (303, "/console/rules")
    assert ">今日<" in browser.get("/console/today").text
    assert '<html lang="zh-CN">' in browser.get("/console/today").text
    for outside in ("//evil.example", "https://evil.example/console", "/other", "/console/../v1", "/console\\evil"):
        assert (
            browser.client.get("/console/language", params={"to": "en", "next": outside}).headers["location"]
            == "/console"
        )


def test_every_reason_is_told_in_chinese(person):
    from serving.console.telling import _reason

    assert all(_reason(code.slug)[1] != code.slug for code in ReasonCode)
    assert _reason("operator") == ("operator", "operator")
