"""How the files of the tests are dealt to the processes of `make test`: the long ones first, and in one hand what shares
something dear - a JVM, a browser over a served bank, a simulated bank. A short file is what one process is alone with at the end.
"""

import os
from collections import Counter
from typing import Any

import pytest

# Each process of the tests computes on one core, for the others are taken by its neighbours; before NumPy is imported.
for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(library, "1")

CONSOLE, SIMULATED, SPARK = "tests/serving/console/", "tests/simulation/", "tests/serving/spark/"
TOGETHER = {
    **dict.fromkeys((f"{SPARK}test_decide.py", f"{SPARK}test_features.py", f"{SPARK}test_plan.py"), SPARK),
    **dict.fromkeys((f"{CONSOLE}test_access.py", f"{CONSOLE}test_walks.py"), CONSOLE),
    **dict.fromkeys((f"{SIMULATED}test_{name}.py" for name in ("bank", "behaviour", "cast", "crm", "journal", "truth")), SIMULATED),
}  # fmt: skip
LONG = (
    SPARK, CONSOLE, "tests/serving/test_watch.py", "tests/training/test_train.py", "tests/test_demo.py",
    "tests/serving/changes/", "tests/serving/lists/", "tests/serving/commands/", "tests/serving/ledger/test_book.py",
    "tests/serving/ledger/test_torture.py", "tests/features/test_nightly.py", SIMULATED, "tests/training/test_promotion.py",
    "tests/training/test_score.py", "tests/serving/test_scheduler.py", "tests/serving/test_rolling.py",
    "tests/serving/", "tests/training/", "tests/features/", "tests/rules/",
)  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than cores for `make test`: while one waits for a server it has started, another computes.

    The long tests fill the cores and the memory by themselves.
    """
    return (os.cpu_count() or 1) + ("not long" in config.option.markexpr)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; see that every test has a name of its own, for xdist runs one of those that share it."""
    for item in items:
        if label := getattr(item, "operation_label", None):  # Schemathesis names all routes of a document alike
            item._id = item.id.with_params(label)  # pytest 9.2 asks nothing else for an item's name
    twice = [name for name, n in Counter(item.nodeid for item in items).items() if n > 1]
    if twice:
        raise pytest.UsageError(f"several tests are called {twice[0]}; xdist would run one of them")
    items.sort(key=lambda item: next((n for n, file in enumerate(LONG) if item.nodeid.startswith(file)), len(LONG)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files in the order in which they are collected; xdist would begin with those that have many tests."""
    from xdist.scheduler import LoadFileScheduling

    class Dealt(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return TOGETHER.get(file, file)

    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return Dealt(config, log)
