"""A manager sees today's calls ranked, with all he has to know; moved tasks are a colleague's."""

import json
import shutil
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import nbo
from features.home import Home
from serving.commands.lists import make_list
from serving.commands.worklist import WorklistError
from serving.http.errors import Forbidden, Unprocessable
from serving.http.messages import (
    ClaimRequest,
    ClaimResponse,
    ContactResponse,
    DecisionRequest,
    MoveTasksRequest,
    MoveTasksResponse,
    OutcomeKind,
    OutcomeRequest,
    OutcomeResponse,
    SentRequest,
    WorklistQuery,
    WorklistResponse,
)
from serving.ledger.keys import Principal, Role
from serving.office import Office
from serving.worklist import managers_of
from tests.home import NOW, Clock, answer, call, copied, office_at, rows, said, without_offer

SMS, CALL = Principal("sms-gateway", Role.CHANNEL), Principal("call-centre", Role.CHANNEL)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home after a list with calls; take a copy."""
    path = copied(tmp_path_factory.mktemp("listed") / "bank")
    make_list(Home.open(path), ["all_year", "dollars"], NOW)
    return path


@pytest.fixture
def planned(listed: Path, bank: Path, clock: Clock) -> Office:
    """An office over a copy of it."""
    shutil.copytree(listed, bank, dirs_exist_ok=True)
    clock.forward(minutes=5)
    return office_at(bank, clock)


def calls(office: Office) -> dict[str, list[dict]]:
    """Manager -> his rows of the list on paper."""
    (folder,) = office.engine.home.lists.iterdir()
    snapshot = office.engine.snapshot(NOW)
    assert snapshot
    manager = dict(zip(*snapshot.table.select(["customer_id", "manager_id"]).to_pydict().values(), strict=True))
    found = defaultdict(list)
    for row in pq.read_table(folder / "offers.parquet").to_pylist():
        if row["channel"] == "call":
            found[manager[row["customer_id"]]].append(row)
    return found


def ask(office: Office, manager: str | None, who: Principal = CALL, **more) -> WorklistResponse:
    return office.worklist(WorklistQuery(manager=manager, **{"limit": 500, **more}), call("GET /v1/worklist", who))


def busiest(office: Office) -> str | None:
    """Most calls of a small bank are to customers who have no manager."""
    return max(calls(office).items(), key=lambda item: len(item[1]))[0]


def test_the_worklist_is_the_managers_rows_of_the_list_dearest_first(planned: Office) -> None:
    on_paper = calls(planned)
    assert len(on_paper) > 2
    for manager, listed in on_paper.items():
        told = ask(planned, manager)
        assert told.open == len(listed) == len(told.tasks)
        assert {t.contact_id for t in told.tasks} == {row["contact_id"] for row in listed}
        worth = [t.expected_value_minor for t in told.tasks]
        assert worth == sorted((row["expected_value_minor"] for row in listed), reverse=True)
        for task in told.tasks:
            assert "reached with" in task.reason[0].en and "触达" in task.reason[0].zh
            assert task.refused_now == () and task.moved_from is None
    assert ask(planned, "nobody of ours").tasks == ()
    assert len(ask(planned, busiest(planned), limit=1).tasks) == 1


def test_script_last_contacts_and_pauses_stand_beside_the_task(planned: Office, clock: Clock) -> None:
    manager = busiest(planned)
    task = ask(planned, manager).tasks[0]
    treated = {t.id: t.template.en for t in planned.engine.catalogue.treatments if t.channel == "call"}
    assert (task.script.en if task.script else None) in {None, *treated.values()}
    # He is called, says no: the next task of that customer would show both.
    work = lambda message, method, route: answer(message, method(call(route, CALL)))
    work(ClaimResponse, lambda c: planned.claim(task.contact_id, ClaimRequest(), c), "POST claim")
    work(ContactResponse, lambda c: planned.sent(task.contact_id, SentRequest(), c), "POST sent")
    clock.forward(minutes=1)
    refused = OutcomeRequest(contact_id=task.contact_id, kind=OutcomeKind.REFUSED, at=clock.now)
    work(OutcomeResponse, lambda c: planned.outcome(refused, c), "POST outcome")
    assert task.contact_id not in {t.contact_id for t in ask(planned, manager).tasks}
    # Another contact of the same customer, put there by hand as the ledger would after the pause.
    planned.ledger.write(
        lambda connection: connection.exec_driver_sql(
            "INSERT INTO contacts SELECT 'again', customer_id, unit_id, offer_id, family, channel, treatment, campaign_id, purpose,"
            " direction, 'reserved', source, decided_at, send_after, send_before, NULL, NULL, NULL, NULL, NULL, p_chosen, decision_id"
            f" FROM contacts WHERE contact_id = '{task.contact_id}'"
        ),
        units=(),
    ).result()
    (again,) = (t for t in ask(planned, manager).tasks if t.contact_id == "again")
    assert (again.last_contacts[0].channel, again.last_contacts[0].answers) == ("call", ("refused",))
    assert again.cool_downs and "recently_refused" in again.refused_now


def test_an_opted_out_customer_shows_as_refused_and_then_goes(planned: Office, clock: Clock) -> None:
    manager = busiest(planned)
    task = ask(planned, manager).tasks[0]
    planned.consent(said(clock.now, customer=task.customer_id, channel="call"), call("POST /v1/consents")).result()
    assert task.contact_id not in {t.contact_id for t in ask(planned, manager).tasks}


def test_moved_tasks_are_the_colleagues_and_go_back(planned: Office) -> None:
    sick, colleague = [name for name, _ in Counter({k: len(v) for k, v in calls(planned).items()}).most_common(2)]
    assert colleague is not None
    before = {who: {t.contact_id for t in ask(planned, who).tasks} for who in (sick, colleague)}
    counted = rows(planned, "SELECT * FROM contacts ORDER BY 1")
    move = lambda request, who=CALL: answer(
        MoveTasksResponse, planned.move_tasks(request, call("POST /v1/worklist/moves", who))
    )
    one = sorted(before[sick])[0]
    assert move(MoveTasksRequest(from_manager=sick, to_manager=colleague, contact_ids=(one, "unknown"))).moved == 1
    assert {t.contact_id: t.moved_from for t in ask(planned, colleague).tasks}[one] == sick
    assert move(MoveTasksRequest(from_manager=sick, to_manager=colleague)).moved == len(before[sick]) - 1
    assert ask(planned, sick).tasks == ()
    assert {t.contact_id for t in ask(planned, colleague).tasks} == before[sick] | before[colleague]
    third = next(name for name in calls(planned) if name not in (sick, colleague))
    assert move(MoveTasksRequest(from_manager=colleague, to_manager=third, contact_ids=(one,))).moved == 1
    assert one in {t.contact_id for t in ask(planned, third).tasks}
    assert rows(planned, "SELECT * FROM contacts ORDER BY 1") == counted  # nothing counts differently


def test_tasks_move_to_managers_of_the_bank_and_within_the_keys_channel(planned: Office) -> None:
    manager = next(name for name in calls(planned) if name is not None)
    for to, line in (("nobody of ours", "`to_manager` is nobody's manager"), (manager, "has these tasks already")):
        with pytest.raises(Unprocessable, match=line):
            planned.move_tasks(MoveTasksRequest(from_manager=manager, to_manager=to), call("POST m", CALL)).result()
    with pytest.raises(Forbidden):
        planned.move_tasks(MoveTasksRequest(from_manager=manager, to_manager="x"), call("POST m", SMS))


def test_the_command_shows_and_moves(planned: Office) -> None:
    home, other = planned.engine.home.path, next(name for name in calls(planned) if name is not None)
    planned.close()
    run = lambda *words: CliRunner().invoke(nbo.app, ["--home", str(home), "worklist", *words])
    shown = run("show").stdout
    assert shown.startswith("nobody: ") and "worth" in shown and "reached with" in shown
    moved = json.loads(run("move", other, "--json").stdout)["moved"]
    assert moved > 0 and json.loads(run("show", "--json").stdout)["open"] == 0
    assert run("move", "nobody of ours").exception is not None


def test_tomorrows_tasks_are_not_todays(planned: Office, clock: Clock) -> None:
    manager = busiest(planned)
    clock.forward(days=1)
    assert ask(planned, manager).tasks == ()
    assert clock.now - NOW == timedelta(days=1, minutes=5)


def test_a_channel_that_the_catalogue_lacks_is_refused_in_one_line(planned: Office) -> None:
    line = "the catalogue has no such channel; `channel` is one of: sms, email, app, call, branch"
    with pytest.raises(Unprocessable) as refused:
        ask(planned, None, Principal("fax", Role.ADMIN), channel="fax")
    assert refused.value.message == line
    manager, home = next(filter(None, managers_of(planned.engine, NOW))), str(planned.engine.home.path)
    for words in (["show"], ["move", manager]):
        told = CliRunner().invoke(nbo.app, ["--home", home, "worklist", *words, "--channel", "fax"])
        assert isinstance(told.exception, WorklistError) and str(told.exception) == line  # nbo.main: exit 2


def test_a_task_whose_offer_has_left_the_catalogue_is_shown_by_its_id(planned: Office) -> None:
    """Its claim is refused and the rest of the list stands. Mutant: a title looked up in the catalogue of today."""
    who = busiest(planned)
    before = ask(planned, who)
    gone = before.tasks[0].offer_id
    without_offer(planned.engine.home.path, gone)
    planned.decide(DecisionRequest(customer_id="C0000050"), call()).result(
        30
    )  # whoever writes next reads what is in force
    after = ask(planned, who)
    assert [task.contact_id for task in after.tasks] == [task.contact_id for task in before.tasks]
    for was, task in zip(before.tasks, after.tasks, strict=True):
        if task.offer_id == gone:
            assert (task.title.en, task.title.zh, task.refused_now) == (gone, gone, ("not_in_campaign",))
        else:
            assert task == was.model_copy(update={"refused_now": task.refused_now})
