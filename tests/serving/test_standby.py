"""One scheduler at work, on one machine and on two."""

import json
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

import nbo
from features.home import Home
from serving.standby import alone
from tests.home import copied
from tests.postgres import database, move_home


def test_only_one_scheduler_is_at_work(bank: Path) -> None:
    code = "import sys; from features.home import Home; from serving.standby import alone; from pathlib import Path\n"
    code += "with alone(Home.open(Path(sys.argv[1]))) as first: print(first)"
    ask = lambda: subprocess.run([sys.executable, "-c", code, bank], capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    with alone(Home.open(bank)) as first:
        assert first and ask() == "False"
        answer = CliRunner().invoke(nbo.app, ["--home", str(bank), "schedule", "run", "--once", "--json"])
        assert json.loads(answer.stdout)["standby"] is True
    assert ask() == "True"


def test_only_one_scheduler_of_two_machines_is_at_work(bank: Path, tmp_path: Path) -> None:
    with database() as url:
        move_home(bank, url)
        other = copied(tmp_path / "elsewhere")
        move_home(other, url)
        with alone(Home.open(bank)) as first, alone(Home.open(other)) as second:
            assert first and not second
        with alone(Home.open(other)) as second:
            assert second
