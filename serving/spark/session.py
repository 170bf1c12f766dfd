"""A Spark session with our rooms on its workers, or one line that says what is missing."""

import importlib.util
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA = 17  # the oldest that Spark 4 runs on
REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("rules", "features", "training", "serving")
MASTER = "NBO_SPARK_MASTER"


class SparkError(ValueError):
    """Spark cannot be used; one line: what, where, remedy."""


def find_java() -> Path:
    """The home of a Java that Spark runs on: JAVA_HOME, that of `java` on the path, or the machine's own.

    Raises:
        SparkError: There is none, or JAVA_HOME names an older one or none at all.
    """
    if told := os.environ.get("JAVA_HOME"):
        if (found := java_version(Path(told))) is None:
            raise SparkError(f"JAVA_HOME is `{told}`, where no bin/java answers; set it to a Java {JAVA}")
        if found < JAVA:
            raise SparkError(f"JAVA_HOME is `{told}`, a Java {found}; Spark needs {JAVA}, so set it to one")
        return Path(told)
    on_path = shutil.which("java")
    places = [Path(on_path).resolve().parents[1]] if on_path else []
    places += sorted(Path("/usr/lib/jvm").glob(f"*{JAVA}*"))
    for place in places:
        if (java_version(place) or 0) >= JAVA:
            return place
    raise SparkError(f"Java {JAVA} is needed by engine `spark` and was not found; install it, or set JAVA_HOME to it")


def java_version(home: Path) -> int | None:
    """The major version of the Java at a home; null where none answers."""
    try:
        said = subprocess.run(  # noqa: S603  # the Java of this machine
            [home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(\d+)', said.stderr)
    return int(found[1]) if found else None


@contextmanager
def session(master: str | None = None) -> "Generator[SparkSession]":
    """A session for the block. master: null for the environment's NBO_SPARK_MASTER, else all of this machine.

    A cluster is given that way or by `spark-submit`; the home must then lie where every worker reads it.
    """
    for name in ("pyspark", "pandas"):
        if importlib.util.find_spec(name) is None:
            raise SparkError(f"package `{name}` is missing; pip install 'next-best-offer[spark]'")
    java, local = find_java(), master or os.environ.get(MASTER, "local[*]")
    os.environ["JAVA_HOME"] = str(java)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with tempfile.TemporaryDirectory(prefix="nbo-spark-") as folder:
        spark = _started(local)
        try:
            spark.sparkContext.addPyFile(str(packed(Path(folder))))
            yield spark
        finally:
            spark.stop()


def _started(master: str) -> "SparkSession":
    from pyspark.sql import SparkSession

    making = SparkSession.builder.appName("next-best-offer").master(master)  # pyright: ignore[reportAttributeAccessIssue]  # a class property
    options = {
        "spark.sql.session.timeZone": "UTC", "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "16384",
        "spark.log.level": "ERROR", "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    }  # fmt: skip
    if master.startswith("local"):
        options |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    for name, value in options.items():
        making = making.config(name, value)
    with warnings.catch_warnings():  # it tells of pandas 3, which we hand it nothing of
        warnings.simplefilter("ignore")
        try:
            return making.getOrCreate()
        except Exception as error:
            raise SparkError(
                f"Spark did not start on `{master}` ({type(error).__name__}); see its log above"
            ) from error


def packed(folder: Path) -> Path:
    """A zip of our rooms in the folder, as the workers import it: compiled, or each worker would do that by itself."""
    path = folder / "next_best_offer.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as into:
        for room in ROOMS:
            for file in sorted((REPOSITORY / room).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    into.write(file, file.relative_to(REPOSITORY))
                    if file.suffix == ".py":
                        compiled = folder / "compiled"
                        py_compile.compile(str(file), str(compiled), doraise=True)
                        into.write(compiled, file.relative_to(REPOSITORY).with_suffix(".pyc"))
    return path
