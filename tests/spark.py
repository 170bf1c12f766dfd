"""One Spark on two threads for all tests of a process; without Java 17 they skip and say so."""

import atexit
import os
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from serving.spark.session import SparkError, find_java, session


def spark() -> Any:
    """The session."""
    pytest.importorskip("pyspark")
    try:
        find_java()
    except SparkError as error:
        pytest.skip(str(error))
    return _session()


@cache
def _session() -> Any:
    # A JVM of minutes does not get back what the second compiler and a collector with threads of its own cost.
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    opened = session("local[2]")
    found = opened.__enter__()
    folder = Path(tempfile.mkdtemp(prefix="nbo-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with zipfile.ZipFile(folder / "tests.zip", "w") as into:  # what stands in for models must be read by the workers
        into.writestr("tests/__init__.py", "")
        for path in Path(__file__).parent.glob("*.py"):
            into.write(path, f"tests/{path.name}")
    found.sparkContext.addPyFile(str(folder / "tests.zip"))
    found.conf.set("spark.sql.shuffle.partitions", "2")
    atexit.register(opened.__exit__, None, None, None)
    return found
