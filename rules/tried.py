"""The cases of a policy's folder, tried: what its authors say it must do, held against what it does."""

from dataclasses import dataclass

from rules.cases import load_cases
from rules.folder import PolicyFolder
from rules.line import Line
from rules.trial import Failure, Trial


@dataclass(frozen=True)
class Tried:
    """How many cases and decisions were tried, which do not hold, and what no case shows."""

    cases: int
    decisions: int
    failures: list[Failure]
    gaps: list[Line]


def try_cases(one: PolicyFolder) -> Tried:
    """Every case of the policy; PolicyError where the file does not hold, or the baseline customer gets nothing."""
    loaded = load_cases(one.cases_file, one.policy, one.catalogue, one.columns)
    trial = Trial(loaded, one.policy, one.catalogue, one.columns)
    trial.check_baseline()
    failures = [*trial.failures(), *trial.decision_failures()]
    return Tried(len(loaded.cases), len(loaded.decisions), failures, trial.gaps())
