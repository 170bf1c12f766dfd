"""`python -m serving.console.working HOME FOLDER`: one job of the console, in a process of its own (jobs.py)."""

import json
import sys
import time
from pathlib import Path

from features.home import Home
from serving.console.jobs import write_json
from serving.console.works import WORKS
from serving.priority import lower_priority

TOLD_SECONDS = 0.2


def main(home: Path, folder: Path) -> None:
    """Do what asked.json asks for; answer.json or error.txt stands there afterwards."""
    lower_priority()
    said = json.loads((folder / "asked.json").read_bytes())
    told = 0.0

    def progress(stage: str, done: int, of: int) -> None:
        nonlocal told
        if done >= of or time.monotonic() - told > TOLD_SECONDS:
            told = time.monotonic()
            write_json(folder / "progress.json", [stage, done, of])

    try:
        answer = WORKS[said["kind"]](Home.open(home), said["asked"], said["by"], folder, progress)
    except (ValueError, OSError) as error:  # every room's errors of input are ValueErrors with one line
        (folder / "error.txt").write_text(" ".join(str(error).split()) or type(error).__name__, "utf-8")
        return
    except Exception as error:  # whatever it was, the page must not wait for ever; its text may hold data
        (folder / "error.txt").write_text(f"something failed on our side ({type(error).__name__})", "utf-8")
        raise
    write_json(folder / "answer.json", answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
