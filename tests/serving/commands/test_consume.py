"""`nbo consume`: one JSON object when it stops; bad input is one line and exit code 2."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import nbo
from tests.brokers import broker
from tests.serving.streams.test_consumer import body


def test_it_consumes_until_it_is_told_to_stop(bank: Path) -> None:
    with broker("nats") as line:
        line.send("events", [body("c-1"), b"{"])
        command = [
            sys.executable,
            "-m",
            "nbo",
            "--home",
            str(bank),
            "consume",
            line.url,
            "--prefix",
            line.prefix,
            "--json",
        ]
        child = subprocess.Popen(command, cwd=Path(nbo.__file__).parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert child.stderr is not None
        said = child.stderr.readline().decode()
        assert said == f"consuming {line.url}, press Ctrl-C to stop\n"
        dead = line.dead()
        while not dead:
            assert child.poll() is None
            dead = line.dead()
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=30)
    assert child.returncode == 0, err.decode()
    found = json.loads(out)
    assert (found["kept"], found["refused"], found["left"]) == (1, 1, 0)
    assert "Traceback" not in err.decode()


@pytest.mark.parametrize("arguments", [["http://x"], ["nats://127.0.0.1:4222", "--prefix", "A.B"], ["nats://"]])
def test_bad_input_is_one_line_and_code_2(
    bank: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["nbo", "--home", str(bank), "consume", *arguments])
    with pytest.raises(SystemExit) as ended:
        nbo.main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.err.startswith("error: ") and said.err.count("\n") == 1 and not said.out
