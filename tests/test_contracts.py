"""What two rooms say in the same words without knowing each other."""

from importlib import import_module

import pytest
from pydantic import BaseModel

from rules.column import declare
from rules.quiet import CLOCK
from rules.types import CUSTOMERS, DECISIONS, scores_schema
from training.score import _schema


def test_training_gives_scores_in_the_form_the_rules_take() -> None:
    assert _schema(7, 3).equals(scores_schema(7, 3))


def test_the_metadata_of_features_and_rules_have_the_same_keys() -> None:
    from features.cases import CASES

    ours = set(declare("x", CLOCK[0].type, unit="", null="", source="", en="", zh="").metadata or {})

    class Nothing:
        """A home without tables: views declare their features all the same."""

        def __getattr__(self, name: str) -> object:
            return lambda *_: False

    declared = CASES.declare(Nothing())  # pyright: ignore[reportArgumentType]
    assert declared
    assert all(set(feature.field.metadata or {}) == ours for feature in declared)


def test_a_decision_repeats_the_keys_of_its_customer() -> None:
    assert DECISIONS.names[:3] == CUSTOMERS.names[:3]


# Every command of the plan and the model of its --json answer: module.Class.
ANSWERS = {
    "demo": "demo.DemoAnswer", "init": "nbo.InitAnswer", "import": "features.commands.ImportAnswer",
    "features build": "features.commands.BuildAnswer", "features describe": "features.commands.CatalogueAnswer",
    "features latest": "features.commands.LatestAnswer", "train": "training.commands.TrainAnswer",
    "train table": "training.tablereport.TableReport", "models list": "training.model_commands.ModelsAnswer",
    "models promote": "training.model_commands.LiveAnswer", "rules prove": "rules.proof_commands.ProveAnswer",
    "rules diff": "rules.proof_commands.DiffAnswer", "rules impact": "rules.proof_commands.ImpactAnswer",
    "rules propose": "serving.http.messages.ChangeResponse", "plan": "serving.commands.lists.PlanAnswer",
    "decide": "serving.commands.decide.DecideAnswer", "serve": "serving.commands.serve.Serving",
    "keys add": "serving.commands.keys.NewKey", "keys list": "serving.commands.keys.ListedKeys",
    "schedule": "serving.commands.schedule.ScheduleAnswer", "switch": "serving.http.messages.SwitchResponse",
    "audit show": "serving.commands.audit.ShowAnswer", "audit why": "serving.http.messages.DecisionWhyResponse",
    "audit replay": "serving.commands.audit.ReplayAnswer", "audit export": "serving.commands.contract.ExportAnswer",
    "audit erase": "serving.commands.records.EraseAnswer", "recall": "serving.commands.operate.RecallAnswer",
    "report campaign": "serving.lists.aftermath.CampaignReport", "bench": "serving.commands.contract.BenchAnswer",
}  # fmt: skip


@pytest.mark.parametrize("command", ANSWERS)
def test_every_command_has_an_answer_with_a_docstring_and_a_schema(command: str) -> None:
    module, name = ANSWERS[command].rsplit(".", 1)
    model = getattr(import_module(module), name)
    assert issubclass(model, BaseModel)
    assert model.__doc__
    assert model.model_json_schema()["properties"]
