"""P27: no pickle is ever loaded in serving; a corrupt model cannot crash or silently change it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training.small import NAMES, draw_matrix, small_booster, small_manifest, write_small
from training.bundle import Part, load_bundle, read_bundle, stamp_version, write_bundle
from training.errors import BundleError
from training.golden import main
from training.scorer import ConstantModel, ConstantScorer

ROOT = Path(__file__).resolve().parents[2]
SERVE = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa

def refuse(event, arguments):
    if event.startswith("pickle."):
        raise RuntimeError("a pickle was loaded")

from training.score import Models
sys.addaudithook(refuse)
models = Models.load(Path(sys.argv[1]))
row = pa.table({"age_years": [61.0], "purchase_sum_365d": [5.0],
                "holds_card": [True], "kind": ["person"]})
every = np.ones((1, 6), bool)
scores = models.score(row, every, ["card", "loan"], ["a", "b"], ["sms", "email", "call"])
print(scores.to_pylist())
assert not {"mlflow", "optuna"} & set(sys.modules), "training libraries in the serving process"
import pickle
try:
    pickle.loads(pickle.dumps(Path))
except RuntimeError:
    print("the hook works")
"""


@pytest.mark.parametrize("name", ["interest", "reach", "churn", "value"])
def test_a_bundle_read_back_gives_the_same_scores(tmp_path: Path, name: str) -> None:
    bundle = load_bundle(write_small(tmp_path, name))
    again = load_bundle(stamp_version(tmp_path / bundle.sha256, tmp_path / "models", "7"))
    assert again.manifest.version == "7" and again.sha256 != bundle.sha256
    for part, scorer in bundle.parts.items():
        rows = draw_matrix(50, len(scorer.features), seed=4)
        np.testing.assert_array_equal(again.parts[part].predict(rows), scorer.predict(rows))


def test_the_scores_are_those_of_the_model_that_was_written(tmp_path: Path) -> None:
    scorer = small_booster()
    parts: dict[str, Part] = {"churn": scorer}
    path = write_bundle(tmp_path, small_manifest("churn", parts), parts, draw_matrix(5))
    rows = draw_matrix(200, seed=9)
    np.testing.assert_array_equal(load_bundle(path).parts["churn"].predict(rows), scorer.predict(rows))


def test_equal_models_have_equal_names(tmp_path: Path) -> None:
    assert write_small(tmp_path / "a", "interest").name == write_small(tmp_path / "b", "interest").name


def test_p27_any_flipped_byte_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = write_small(tmp_path, "interest")
    for file in sorted(path.iterdir()):
        good = file.read_bytes()
        for place in (0, len(good) // 2, len(good) - 1):
            file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            with pytest.raises(BundleError, match=r"sha256 differs.*promote the model again or roll back"):
                load_bundle(path)
        file.write_bytes(good)
    assert load_bundle(path)


def test_p27_a_missing_file_is_named(tmp_path: Path) -> None:
    path = write_small(tmp_path, "reach")
    (path / "pooled.lgb").unlink()
    with pytest.raises(BundleError, match=r"cannot read `pooled.lgb`; promote the model again"):
        load_bundle(path)


def test_p27_serving_loads_no_pickle_and_no_training_library(live: Path) -> None:
    command = [sys.executable, "-c", SERVE, str(live)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    assert "p_interest" in child.stdout and "the hook works" in child.stdout


def test_p27_a_model_that_kills_its_reader_kills_only_the_child(tmp_path: Path) -> None:
    path = write_small(tmp_path, "reach")
    text = (path / "pooled.lgb").read_text().replace("left_child=", "left_child=99999999 ", 1)
    with pytest.raises(BundleError, match="first load in a child process failed"):
        read_bundle(sealed(path, "pooled.lgb", text))


def test_p27_a_model_that_scores_otherwise_is_refused(tmp_path: Path) -> None:
    path = write_small(tmp_path, "reach")
    changed = json.loads((path / "pooled.calibrator.json").read_text()) | {"intercept": 0.3}
    with pytest.raises(BundleError, match="part `pooled` gives other scores than when it was trained"):
        read_bundle(sealed(path, "pooled.calibrator.json", json.dumps(changed)))


def test_the_child_runs_once_per_machine(tmp_path: Path) -> None:
    path = write_small(tmp_path, "churn")
    read_bundle(path)
    receipt = tmp_path / f"{path.name}.probed"
    before = receipt.stat().st_mtime_ns
    read_bundle(path)
    assert receipt.stat().st_mtime_ns == before
    receipt.write_text("another machine")
    read_bundle(path)
    assert receipt.read_text() != "another machine"


def test_golden_rows_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write_small(tmp_path, "interest"))]) == 0
    assert main([str(tmp_path / "nothing")]) == 1
    assert "cannot read `manifest.json`" in capsys.readouterr().err


def test_an_offer_named_like_a_path_stays_in_the_folder(tmp_path: Path) -> None:
    parts: dict[str, Part] = {"../../x": ConstantScorer(NAMES, ConstantModel(p=0.5, why="test"))}
    path = write_bundle(tmp_path / "m", small_manifest("interest", parts), parts, draw_matrix(2))
    assert sorted(p.name for p in path.iterdir()) == [
        "..%2F..%2Fx.constant.json",
        "golden.json",
        "manifest.json",
    ]
    assert load_bundle(path).parts["../../x"].predict(draw_matrix(1)).tolist() == [0.5]


def sealed(path: Path, file: str, text: str) -> Path:
    """Put bad content under good hashes, as a faulty trainer might."""
    (path / file).write_text(text)
    manifest = json.loads((path / "manifest.json").read_text())
    import hashlib

    manifest["files"][file] = hashlib.sha256(text.encode()).hexdigest()
    sealed = json.dumps(manifest).encode()
    (path / "manifest.json").write_bytes(sealed)
    target = path.with_name(hashlib.sha256(sealed).hexdigest())
    shutil.move(path, target)
    return target
