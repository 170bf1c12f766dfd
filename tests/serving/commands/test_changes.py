"""What `nbo rules propose | list | check` print of a change: plain lines, in English."""

from serving.commands.changes import report_lines
from serving.http.messages.base import Words
from serving.http.messages.change import CheckReport


def told(*lines: str) -> tuple[Words, ...]:
    return tuple(Words(en=line, zh=f"中 {line}") for line in lines)


def test_a_report_is_printed_line_by_line_in_english() -> None:
    report = CheckReport(
        passed=False, problems=told("a case"), text=told("a part"), cases=2, invariants=1, only_tightens=True,
        newly_allowed=told("somebody"), newly_suppressed=told("another"), notes=told("a rule"), impact=told("total"))  # fmt: skip
    assert report_lines(report) == [
        "  check FAILED: 2 cases, 1 invariants proved",
        "    NOT: a case",
        "    written: a part",
        "    note: a rule",
        "    impact: total",
        "    somebody",
        "    another",
        "    only tightens: nothing newly allowed (proved)",
    ]
