"""The proofs: each invariant, the search for what is in vain, a diff - for the shipped policy and for 400 generated rules."""

import random
import time
from collections.abc import Callable
from datetime import date
from statistics import median
from typing import Any

import pyarrow as pa

from benchmarks import bank
from benchmarks.table import Table
from rules.catalogue import load_catalogue
from rules.column import read_columns
from rules.diff import compare
from rules.invariants import load_invariants
from rules.policy import load_policy
from rules.proofs import prove
from rules.rule import Rule
from rules.shadows import find_shadows
from rules.terms import Terms

DAY = date(2026, 6, 1)
N_RULES, N_QUICK = 400, 40


def run(quick: bool) -> list[Table]:
    """A table for the shipped policy, and for it with generated rules up to N_RULES."""
    catalogue, columns = (
        load_catalogue(bank.POLICIES / "retail.catalogue.yaml"),
        read_columns(bank.POLICIES / "retail.columns.yaml"),
    )
    shipped = Terms(catalogue, load_policy(bank.POLICIES / "retail.yaml", catalogue, columns), columns, DAY)
    missing = (N_QUICK if quick else N_RULES) - len(shipped.policy.rules)
    grown = shipped.policy.model_copy(
        update={"rules": (*shipped.policy.rules, *generated(shipped.vocabulary, missing))}
    )
    return [_measured("proofs", shipped), _measured("proofs-generated", Terms(catalogue, grown, columns, DAY))]


def generated(columns: pa.Schema, n: int) -> list[Rule]:
    """n made-up rules of two or three conditions over feature columns, each over one to three families."""
    rng = random.Random(400)
    numbers = [
        f.name for f in columns if pa.types.is_floating(f.type) and not f.name.startswith(("local_", "suppressed_"))
    ]
    flags = [f.name for f in columns if pa.types.is_boolean(f.type) and not f.name.startswith("holds_")]
    families = ["deposit", "wealth", "card", "loan", "insurance", "retention"]

    def atom() -> str:
        if rng.random() < 0.3:
            return rng.choice(["", "NOT "]) + rng.choice(flags)
        return f"{rng.choice(numbers)} {rng.choice(['<', '<=', '>', '>='])} {rng.randint(0, 50)}"

    found: list[Rule] = []
    for place in range(n):
        said: dict[str, Any] = {"id": f"made_{place}", "layer": "eligibility", "reason": "not_served", "source": "made up",
                                "owner": "bench", "title": {"en": f"rule {place}", "zh": f"规则{place}"},
                                "when": " AND ".join(atom() for _ in range(rng.randint(2, 3))),
                                "scope": {"families": rng.sample(families, rng.randint(1, 3))}}  # fmt: skip
        found.append(Rule.model_validate(said))
    return found


def _measured(name: str, terms: Terms) -> Table:
    steps = sum(len(part) for part in terms.program.steps.values())
    table = Table(
        name,
        f"{len(terms.policy.parts)} parts, {len(terms.policy.rules)} rules, {steps} steps, {terms.catalogue.n_cells} cells, processor time",
    )
    print(f"{name}: {table.setting}")
    invariants = load_invariants(bank.POLICIES / "retail.invariants.yaml", terms.policy, terms.catalogue, terms.columns)
    proofs = list(prove(invariants.invariants, terms))
    outcomes = {o: sum(p.outcome == o for p in proofs) for o in ("proved", "refuted", "unknown")}
    slowest = max(proofs, key=lambda proof: proof.seconds)
    table.add("an invariant, slowest", slowest.seconds, "s", 1.0, slowest.invariant.id)
    table.add("an invariant, median", median(p.seconds for p in proofs), "s", None, str(outcomes))
    found: list[Any] = []
    table.add("dead, always, shadowed, unreachable", _seconds(lambda: found.append(find_shadows(terms))), "s", 20.0)
    vain = found[0]
    table.lines[
        -1
    ].note = f"{len(vain.dead)} dead, {len(vain.shadowed)} shadowed, {len(vain.closed)} closed cells, {len(vain.undecided)} undecided"
    print(f"    {table.lines[-1].note}")
    without = terms.policy.model_copy(update={"rules": tuple(r for r in terms.policy.rules if r.id != "risk_assessed")})
    other = Terms(terms.catalogue, without, terms.columns, DAY)
    table.add("the diff of one rule removed, with its customer", _seconds(lambda: compare(terms, other)), "s")
    table.add("the diff of one rule added, proved to tighten", _seconds(lambda: compare(other, terms)), "s")
    return table


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
