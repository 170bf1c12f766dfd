"""`nbo rules prove | diff | impact`: exit codes, one line per mistake, one JSON object, nothing written."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rules import prove
from rules.errors import RulesError
from rules.line import Line
from rules.proof_commands import DiffAnswer, ImpactAnswer, ProveAnswer
from tests import bank
from tests.rules.test_commands import ask, edit
from tests.rules.test_commands import folder as folder  # noqa: PLC0414  # a fixture

FEW = """policy: retail
invariants:
  - {id: staff_scheme, title: {en: No staff., zh: 无}, open_only_if: NOT staff, kept_by: [staff]}
tellable: [risk_tolerance]
"""
ON = ("--on", "2026-06-01")


def small(folder: Path, text: str = FEW) -> Path:
    (folder / "retail.invariants.yaml").write_text(text, "utf-8")
    return folder


def test_prove_says_proved_or_shows_a_customer(folder: Path) -> None:
    small(folder)
    said = ask("prove", str(folder), *ON)
    assert said.exit_code == 0, said.output
    assert "proved" in said.stdout
    assert said.stdout.rstrip().split("\n")[-1].startswith("1 of 1 invariants proved, ")
    edit(folder, "    when: staff\n", "    when: staff AND vulnerable\n")
    said = ask("prove", str(folder), *ON, "--json")
    answer = ProveAnswer.model_validate_json(said.stdout)
    assert (said.exit_code, answer.ok, answer.proofs[0].outcome) == (1, False, "refuted")
    assert answer.proofs[0].witness
    assert answer.proofs[0].witness["staff"] is not False
    assert "open to a customer all the same" in answer.proofs[0].words.en
    assert "staff_scheme: open to a customer all the same: " in ask("prove", str(folder), *ON).stdout


def test_prove_exits_1_where_a_rule_is_in_vain(folder: Path) -> None:
    small(folder)
    edit(folder, "    when: arrears_days > 30\n", "    when: arrears_days > 30 AND arrears_days < 30\n")
    said = ask("prove", str(folder), *ON)
    assert said.exit_code == 1
    assert "long_arrears: never fires" in said.stdout


@pytest.mark.parametrize(("text", "line"), [
    (FEW.replace("NOT staff", "NOT stuff"), "retail.invariants.yaml:3: `staff_scheme`: unknown column `stuff`: did you mean `staff`?"),
    (FEW.replace("[staff]", "[stuff]"), "`staff_scheme`: kept_by: no part `stuff`: did you mean `staff`?"),
    (FEW.replace("policy: retail", "policy: cards"), "is for policy `cards`, not `retail`"),
    (FEW.replace("[risk_tolerance]", "[risk]"), "tellable: unknown column `risk`"),
    (FEW.replace("open_only_if", "open_only"), "unknown key `open_only`: did you mean `open_only_if`?"),
    (FEW.replace("kept_by: [staff]", "scope: {families: [cards]}"), "unknown family `cards`: did you mean `card`?"),
    (FEW.replace("kept_by: [staff]", "scope: {families: [card], offers: [loan_personal]}"), "its scope holds no cell"),
    ])  # fmt: skip
def test_a_bad_invariants_file_is_refused_in_one_line(text: str, line: str, folder: Path) -> None:
    small(folder, text)
    refused = ask("prove", str(folder)).exception
    assert isinstance(refused, RulesError)
    assert line in str(refused)
    assert "\n" not in str(refused)


def test_a_policy_without_invariants_is_told_so(tmp_path: Path) -> None:
    for name in ("cards.yaml", "cards.catalogue.yaml", "cards.columns.yaml"):
        shutil.copy(bank.POLICIES / name, tmp_path / name)
    refused = ask("prove", str(tmp_path)).exception
    assert isinstance(refused, RulesError)
    assert "there are no invariants; write what must hold beside the policy" in str(refused)


def test_without_z3_one_line_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(prove, "import_module", missing)
    refused = ask("prove", str(small(folder))).exception
    assert isinstance(refused, RulesError)
    assert "needs z3" in str(refused).replace("need z3", "needs z3")


def test_diff_shows_who_is_newly_allowed_and_proves_that_nobody_is(folder: Path) -> None:
    shipped = str(bank.POLICIES / "retail.yaml")
    edit(folder, "    when: arrears_days > 0\n", "    when: arrears_days > 5\n")
    changed = str(folder)
    said = ask("diff", shipped, str(folder / "retail.yaml"), *ON, "--json")
    looser = DiffAnswer.model_validate_json(said.stdout)
    assert said.exit_code == 0, said.output
    assert (looser.only_tightens, looser.only_loosens) == (False, True)
    assert looser.text == [Line(en="part `in_arrears` when: arrears_days > 0 -> arrears_days > 5",
                                zh="条款 `in_arrears` 的 when：arrears_days > 0 → arrears_days > 5")]  # fmt: skip
    assert looser.newly_allowed
    assert 0 < float(looser.newly_allowed["arrears_days"] or 0) <= 5
    tighter = ask("diff", changed, shipped, *ON).stdout
    assert "only tightens: nothing newly allowed (proved)" in tighter
    assert "newly suppressed by `in_arrears`" in tighter


def test_impact_counts_on_a_snapshot(folder: Path, tmp_path: Path) -> None:
    terms = bank.terms()
    rows = [bank.welcome(terms) | {"arrears_days": float(place)} for place in range(4)]
    pq.write_table(pa.Table.from_batches([bank.customers_batch(terms, rows)]), tmp_path / "c.parquet")
    edit(folder, "    when: arrears_days > 0\n", "    when: arrears_days > 2\n")
    words = ("impact", str(bank.POLICIES / "retail.yaml"), str(folder), "--customers", str(tmp_path / "c.parquet"))
    answer = ImpactAnswer.model_validate_json(ask(*words, "--json").stdout)
    assert [(row.rule, row.customers_gained, row.cells_gained, row.value_gained_minor) for row in answer.rows] == [
        ("in_arrears", 2, 30, None)
    ]
    assert (answer.customers, answer.opened, answer.total.cells_gained) == (4, 0, 30)
    assert "in_arrears: opens 30 cells of 2 customers" in ask(*words).stdout
    assert json.loads(ask(*words, "--json").stdout)["snapshot"] == "c.parquet"
    lost = ask(*words[:-1], str(tmp_path / "none.parquet")).exception
    assert isinstance(lost, RulesError)
    assert "is no file" in str(lost)


def test_folders_with_several_policies_need_a_file() -> None:
    refused = ask("diff", str(bank.POLICIES), str(bank.POLICIES)).exception
    assert isinstance(refused, RulesError)
    assert "name the file of one policy on each side" in str(refused)
