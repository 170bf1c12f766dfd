"""The records' commands end to end: seal, verify, a flipped byte, erase, back up while serving, restore, rotate."""

import hashlib
import json
import logging
import shutil
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from features.home import Home
from serving.commands import keys
from serving.commands.audit import ShowAnswer, app
from serving.commands.audit_verify import VerifyAnswer
from serving.commands.lists import make_list
from serving.commands.records import (
    BackupAnswer,
    EraseAnswer,
    HoldAnswer,
    PruneAnswer,
    SealAnswer,
)
from serving.ledger.journal import Entered, entries
from serving.lists.files import read_manifest
from serving.lists.manifest import enter_manifest
from serving.lists.volume import VolumeError, volume
from serving.office import Office, open_ledger
from serving.sealer import Sealer
from tests.home import HERO, NOW, Clock, ask, office_at
from tests.seal_oracle import problems
from training.tiers import Tiers, write_tiers


def run(bank: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--json"], obj=bank)


def verified(bank: Path, *words: str) -> VerifyAnswer:
    done = run(bank, "verify", *words)
    answer = VerifyAnswer.model_validate_json(done.stdout)
    assert done.exit_code == (0 if answer.whole else 1), done.exception
    return answer


def decided(bank: Path, clock: Clock, n: int = 5) -> list[str]:
    office = office_at(bank, clock)
    ids = [ask(office, f"C{place + 1:07d}").decision_id for place in range(n)]
    office.close()
    return ids


def test_p05_seal_verify_and_the_exact_record_of_a_flipped_byte(bank: Path, clock: Clock) -> None:
    ids = decided(bank, clock)
    before = verified(bank)
    assert before.whole and ("decision", ids[0]) in before.tail
    assert SealAnswer.model_validate_json(run(bank, "seal").stdout).seals == 1
    after = verified(bank)
    assert after.whole and after.tail == [] and after.head and after.rows >= 5
    shown = ShowAnswer.model_validate_json(run(bank, "show", ids[2]).stdout)
    assert (shown.whole, shown.seal, shown.erased) == (True, after.seals, False) and shown.inputs["customers"]
    with sqlite3.connect(bank / "nbo.db") as raw:
        raw.execute("UPDATE decisions SET inputs = CAST(X'0102' AS BLOB) WHERE decision_id = ?", (ids[2],))
    bad = verified(bank)
    assert [(f.what, f.which) for f in bad.findings] == [("decision", ids[2])]
    text = CliRunner().invoke(app, ["verify"], obj=bank)
    assert text.exit_code == 1 and text.stdout.splitlines()[0].startswith(f"decision {ids[2]}: ")


def test_p26_erase_hold_and_export_of_a_customer(bank: Path, clock: Clock) -> None:
    office = office_at(bank, clock)
    first = ask(office, HERO)
    office.close()
    run(bank, "seal")
    own = json.loads(run(bank, "export", HERO).stdout)
    assert own["decisions"][0]["result"]["answer"]["decision_id"] == first.decision_id and len(own["contacts"]) >= 1
    assert HoldAnswer.model_validate_json(run(bank, "hold", HERO, "on", "--reason", "case 7").stdout).changed
    held = run(bank, "erase", HERO, "--reason", "asked for it")
    assert "legal hold" in str(held.exception) and HERO not in str(held.exception)
    run(bank, "hold", HERO, "off", "--reason", "case closed")
    tiers = write_tiers(bank / "models", pl.DataFrame({"customer_id": [HERO, "X"], "tier": ["top", "base"]}))
    done = EraseAnswer.model_validate_json(run(bank, "erase", HERO, "--reason", "asked for it").stdout)
    assert (done.records, done.recalled, done.answers, done.tiers) == (1, 1, 1, 1)
    left = Tiers.load(bank / "models", tiers)
    assert left is not None and left.of([HERO, "X"]) == [None, "base"]
    shown = ShowAnswer.model_validate_json(run(bank, "show", first.decision_id).stdout)
    assert (shown.erased, shown.whole, shown.inputs, shown.result) == (True, True, {}, {})
    for word in ("why", "replay"):
        assert "was erased" in str(run(bank, word, first.decision_id).exception)
    run(bank, "seal")
    assert verified(bank).whole and problems(bank / "nbo.db", {"k0": Home.open(bank).secret()}) == set()
    office = office_at(bank, clock)
    clock.forward(minutes=1)
    assert ask(office, HERO).offer_id is None, "nobody writes to him again"
    office.close()
    assert [row["customer_id"] for row in json.loads(run(bank, "erased").stdout)["erased"]] == [HERO]
    for words in (["erase", HERO, "--reason", " "], ["hold", HERO, "maybe", "--reason", "x"]):
        assert "say" in str(run(bank, *words).exception)


def test_backup_while_serving_and_the_restore_drill(bank: Path, clock: Clock, tmp_path: Path) -> None:
    office = office_at(bank, clock)
    stop, asked = threading.Event(), list[str]()

    def busy() -> None:
        while not stop.is_set():
            asked.append(ask(office, f"C{len(asked) % 50 + 1:07d}").decision_id)

    thread = threading.Thread(target=busy)
    thread.start()
    while len(asked) < 5:
        stop.wait(0.05)
    acknowledged = list(asked)
    done = run(bank, "backup", str(tmp_path / "copy"), "--no-keys")
    stop.set()
    thread.join()
    office.close()
    assert done.exit_code == 0 and not (tmp_path / "copy" / "secret.key").exists()
    assert "not empty" in str(run(bank, "backup", str(tmp_path / "copy")).exception)
    assert "holds no keys" in str(run(bank, "restore", str(tmp_path / "copy"), str(tmp_path / "new")).exception)
    (tmp_path / "erased.json").write_text(json.dumps({"erased": [{"customer_id": HERO, "at": "x"}]}))
    restored = run(
        bank,
        "restore",
        str(tmp_path / "copy"),
        str(tmp_path / "new"),
        "--keys",
        str(bank),
        "--erased",
        str(tmp_path / "erased.json"),
    )
    answer = BackupAnswer.model_validate_json(restored.stdout)
    assert restored.exit_code == 0 and answer.whole
    with sqlite3.connect(tmp_path / "new" / "nbo.db") as raw:
        kept = {row[0] for row in raw.execute("SELECT decision_id FROM decisions")}
    assert set(acknowledged) <= kept, "what was acknowledged before the backup is in it"
    assert (
        SealAnswer.model_validate_json(run(tmp_path / "new", "seal").stdout).seals == 1
        and verified(tmp_path / "new").whole
    )
    first = ShowAnswer.model_validate_json(run(tmp_path / "new", "show", acknowledged[1]).stdout)
    assert first.inputs["customers"]
    assert ShowAnswer.model_validate_json(run(tmp_path / "new", "show", acknowledged[0]).stdout).erased, "erased again"
    (tmp_path / "copy" / "catalogue.yaml").write_text("changed")
    damaged = run(bank, "restore", str(tmp_path / "copy"), str(tmp_path / "newer"), "--keys", str(bank))
    assert "`catalogue.yaml` is not what was backed up" in str(damaged.exception) and not (tmp_path / "newer").exists()
    assert "no finished backup" in str(
        run(bank, "restore", str(tmp_path / "nothing"), str(tmp_path / "newer")).exception
    )


def test_rotated_secret_keeps_old_seals_and_records(bank: Path, clock: Clock) -> None:
    [before] = decided(bank, clock, 1)
    run(bank, "seal")
    done = CliRunner().invoke(keys.app, ["rotate-secret", "--json"], obj=bank)
    assert json.loads(done.stdout) == {"key_id": "k1", "wrapped": 1}
    decided(bank, clock, 2)
    assert SealAnswer.model_validate_json(run(bank, "seal").stdout).seals == 1
    assert verified(bank).whole and run(bank, "why", before).exit_code == 0
    with sqlite3.connect(bank / "nbo.db") as raw:
        assert {row[0] for row in raw.execute("SELECT key_id FROM seals")} == {"k0", "k1"}
        assert {row[0] for row in raw.execute("SELECT key_id FROM vault")} == {"k1"}


def test_a_batch_run_is_one_sealed_manifest(bank: Path, clock: Clock) -> None:
    """The parts of a list are sealed through its manifest; a changed byte of any is named."""
    plan = make_list(Home.open(bank), ["all_year"], NOW)
    make_list(Home.open(bank), ["all_year"], NOW)
    with open_ledger(Home.open(bank)) as ledger, ledger.read() as connection:
        assert [e.subject for e in entries(connection, Entered.LIST)] == [plan.run], "once"
    assert verified(bank, "--list", plan.run).list_sealed_by is None, "the tail"
    run(bank, "seal")
    whole = verified(bank, "--list", plan.run)
    assert whole.whole and whole.list_sealed_by == whole.seals
    folder = bank / "lists" / plan.run
    for name in ("offers.parquet", "suppressed.parquet", "offers.csv", "manifest.json"):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before[:-2] + bytes([before[-2] ^ 1]) + before[-1:])
        found = verified(bank, "--list", plan.run).findings
        assert [(f.what, f.which) for f in found] == [("list", plan.run)] and name in found[0].problem
        (folder / name).write_bytes(before)
    told = verified(bank, "--list", plan.run).list_recomputed
    assert told is not None and (told.value_minor, told.limits) == (
        plan.certificate.value_minor,
        len(plan.certificate.limits),
    )
    (folder / "offers-fax.csv").write_text("customer_id\n")
    assert "offers-fax.csv is no file of the list" in verified(bank, "--list", plan.run).findings[0].problem
    (bank / "lists" / "forged").mkdir()
    assert "never entered" in verified(bank, "--list", "forged").findings[0].problem
    assert "there is no list `nothing`" in str(run(bank, "verify", "--list", "nothing").exception)


@pytest.mark.parametrize("column", ["gross_minor", "cell"])
def test_p16_a_forged_table_of_cells_is_found_by_the_independent_checker(bank: Path, column: str) -> None:
    """Also where the forger enters a manifest that fits: hashes hold then, and the proof does not."""
    run_id = make_list(Home.open(bank), ["all_year"], NOW).run
    assert verified(bank, "--list", run_id).whole
    folder = bank / "lists" / run_id
    forge(folder / "cells.parquet", column)
    assert [f.problem for f in verified(bank, "--list", run_id).findings] == ["cells.parquet is not what was written"]
    digest = hashlib.sha256((folder / "cells.parquet").read_bytes()).hexdigest()
    manifest = read_manifest(folder)
    fits = manifest.model_copy(update={"files": manifest.files | {"cells.parquet": digest}})
    (folder / "manifest.json").write_text(fits.model_dump_json(indent=2))
    with open_ledger(Home.open(bank)) as ledger:
        assert enter_manifest(ledger, folder, "the forger")
    found = verified(bank, "--list", run_id)
    assert not found.whole and all(f.problem.startswith("certificate: ") for f in found.findings)
    (folder / "certificate.json").write_text("{}")
    manifest = fits.model_copy(update={"files": fits.files | {"certificate.json": hashlib.sha256(b"{}").hexdigest()}})
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2))
    with open_ledger(Home.open(bank)) as ledger:
        assert enter_manifest(ledger, folder, "the forger")
    assert "cannot be checked" in verified(bank, "--list", run_id).findings[0].problem


def forge(path: Path, column: str) -> None:
    """Of the listed cells make others: worth twice as much, or somebody else's."""
    table = pq.read_table(path).combine_chunks()
    values = table.column(column).combine_chunks()
    flat = [2 * v if column == "gross_minor" else 0 for v in values.flatten().to_pylist()]
    forged = pa.ListArray.from_arrays(values.offsets, pa.array(flat, values.type.value_type))
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, table.schema.field(place), forged.cast(values.type)), path)


def test_a_list_three_times_the_usual_waits_for_a_confirmation(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: a guard that asks after the reservation leaves contacts behind."""
    home = Home.open(bank)
    plan = make_list(home, ["all_year"], NOW - timedelta(hours=1))
    assert plan.contacts > 100, "the first is compared with nothing"
    manifest = read_manifest(bank / "lists" / plan.run)
    small = manifest.model_copy(update={"funnel": manifest.funnel.model_copy(update={"chosen": 10})})
    (bank / "lists" / plan.run / "manifest.json").write_text(small.model_dump_json())
    with sqlite3.connect(bank / "nbo.db") as raw:
        raw.execute("UPDATE contacts SET state = 'closed' WHERE decision_id = ?", (plan.run,))
    with pytest.raises(VolumeError, match=r"contacts, usual are 10; nothing is reserved"):
        make_list(home, ["all_year"], NOW)
    with sqlite3.connect(bank / "nbo.db") as raw:
        assert raw.execute(
            "SELECT count(*) FROM contacts WHERE decision_id LIKE '2026%' AND state = 'reserved'"
        ).fetchone() == (0,)
    done = make_list(home, ["all_year"], NOW, confirm=True)
    with open_ledger(home) as ledger, ledger.read() as connection:
        [entry] = entries(connection, Entered.VOLUME)
    assert (entry.subject, entry.body["usual"]) == (done.run, 10) and entry.body["contacts"] >= done.contacts


def test_the_usual_volume_is_the_median_of_like_runs(bank: Path, tmp_path: Path) -> None:
    plan = make_list(Home.open(bank), ["all_year"], NOW)
    manifest = read_manifest(bank / "lists" / plan.run)
    for day, (names, chosen) in enumerate([(("a",), 100), (("a",), 900), (("a",), 110), (("b",), 5)], 1):
        folder = tmp_path / f"202606{day:02d}-x"
        folder.mkdir()
        one = manifest.model_copy(
            update={"campaigns": names, "funnel": manifest.funnel.model_copy(update={"chosen": chosen})}
        )
        (folder / "manifest.json").write_text(one.model_dump_json())
    for day in (5, 6, 7):  # everybody was silent, which says nothing of what is usual
        folder = tmp_path / f"202606{day:02d}-x"
        folder.mkdir()
        silent = manifest.funnel.model_copy(update={"chosen": 0})
        one = manifest.model_copy(update={"campaigns": ("a",), "funnel": silent, "degraded": True})
        (folder / "manifest.json").write_text(one.model_dump_json())
    assert volume(tmp_path, ("a",), "9", 331).usual == 110 and volume(tmp_path, ("a",), "9", 331).is_held
    assert not volume(tmp_path, ("a",), "9", 330).is_held
    assert volume(tmp_path, ("c",), "9", 1).usual == 105, "no like run: all of them"
    assert volume(tmp_path, ("a",), "20260601-x", 10**6).usual is None


def test_prune_says_what_it_would_do_first(bank: Path, clock: Clock) -> None:
    decided(bank, clock, 2)
    (bank / "retention.yaml").write_text("decisions: 30\n")
    counts = PruneAnswer.model_validate_json(run(bank, "prune", "--dry-run").stdout)
    assert not counts.pruned and counts.rows["decisions"] == 0
    assert PruneAnswer.model_validate_json(run(bank, "prune").stdout).pruned
    assert verified(bank).whole


def test_the_serving_process_seals_each_second_and_when_it_stops(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    sealer = Sealer(office.ledger, office.engine.vault.keyring, every_seconds=0.02).start()
    one = ask(office, HERO)
    for _ in range(500):
        if office.decision(one.decision_id, _as_admin()).sealed:
            break
        threading.Event().wait(0.02)
    assert office.decision(one.decision_id, _as_admin()).sealed
    office.ledger.write(lambda c: c.exec_driver_sql("ALTER TABLE seals RENAME TO away") and None).result(30)
    ask(office, "C0000002")
    with caplog.at_level(logging.WARNING):
        for _ in range(500):
            if caplog.records:
                break
            threading.Event().wait(0.02)
    assert {r.message for r in caplog.records} == {"records wait for their seal: LedgerError"}
    office.ledger.write(lambda c: c.exec_driver_sql("ALTER TABLE away RENAME TO seals") and None).result(30)
    sealer.stop()
    assert office.decision(ask_again(office), _as_admin()).sealed is True


def ask_again(office: Office) -> str:
    """The decision that waited."""
    with office.ledger.read() as connection:
        return str(
            connection.exec_driver_sql("SELECT decision_id FROM decisions WHERE customer_id = 'C0000002'").scalar()
        )


def _as_admin():
    from tests.home import call

    return call()


def test_p26_no_customer_id_in_logs_or_errors_of_the_records(
    bank: Path, clock: Clock, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The canary is a customer; only the answer that names him may."""
    canary = HERO
    with caplog.at_level(logging.DEBUG):
        office = office_at(bank, clock)
        decision = ask(office, canary).decision_id
        office.close()
        said = ""
        for words in (["seal"], ["verify"], ["replay", "--all"], ["hold", canary, "on", "--reason", "x"], ["erase", canary, "--reason", "x"],
                      ["hold", canary, "off", "--reason", "x"], ["erase", canary, "--reason", "x"], ["why", decision], ["replay", decision],
                      ["prune"], ["backup", str(bank / "nbo.db")]):  # fmt: skip
            done = CliRunner().invoke(app, words, obj=bank)
            said += done.stderr + str(done.exception or "") + done.stdout
    told = caplog.text + capsys.readouterr().err + said
    assert canary not in told and len(said) > 200
    shutil.rmtree(bank)
