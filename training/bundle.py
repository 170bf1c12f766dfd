"""The served model: a folder of text files named after the hash of its manifest. No pickle.

    models/<sha256 of manifest.json>/
        manifest.json                 what it is, from what it was trained, sha256 of every file
        <part>.lgb                    LightGBM text      | one of
        <part>.logistic.json          coefficients       | the
        <part>.constant.json          one probability    | four
        <part>.formula.json           the value formula  |
        <part>.calibrator.json        raw score -> probability
        golden.json                   some rows and the scores they must give

LightGBM's text format is not safe input: a damaged file can kill the process that reads it. So
the hashes are checked before a byte is parsed, and the first load on a machine happens in a
child process (training/probe.py, training/golden.py) that must give the golden scores.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from training.calibration import Calibrator
from training.encode import Feature, Matrix
from training.errors import BundleError
from training.probe import ensure_probed
from training.scorer import (
    BoosterScorer,
    ConstantModel,
    ConstantScorer,
    LogisticModel,
    LogisticScorer,
    open_booster,
)
from training.value import ValueFormula, ValueModel

POOLED = "pooled"  # the part that serves whoever has no part of his own
Part = BoosterScorer | LogisticScorer | ConstantScorer | ValueFormula
_SUFFIX = {
    BoosterScorer: "lgb",
    LogisticScorer: "logistic.json",
    ConstantScorer: "constant.json",
    ValueFormula: "formula.json",
}
_ENCODING = "utf-8"


class PartNote(BaseModel):
    """What one part is: which candidate won, on how much, and how good it was on later data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    served: str  # lightgbm | logistic | recency_frequency | constant | formula
    features: tuple[str, ...]
    rows: int = 0
    positives: int = 0
    note: str = ""
    metrics: dict[str, float | None] = {}


class Manifest(BaseModel):
    """All that is known of a bundle; equal content, equal bytes, equal hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: str = "1"
    name: str
    version: str = ""  # of the registry; empty until promoted
    features: tuple[Feature, ...]
    context: Feature | None = None  # offer or channel: the last column of a pooled part
    parts: dict[str, PartNote]
    metrics: dict[str, float | None] = {}
    trained_as_of: str
    views: str = ""  # revision of the feature views
    dataset: str = ""  # snapshot id of the labels and schema
    assumptions: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()  # lines for which the gate keeps it out
    files: dict[str, str] = {}


@dataclass(frozen=True)
class Bundle:
    """A verified model, ready to score."""

    sha256: str
    manifest: Manifest
    parts: dict[str, Part]

    @property
    def name(self) -> str:
        """interest, reach, harm, churn or value."""
        return self.manifest.name

    @cached_property
    def inputs(self) -> str:
        """Hash of the feature list: bundles that share it share one matrix."""
        return _sha256(_canonical([f.model_dump() for f in self.manifest.features]))


def write_bundle(models: Path, manifest: Manifest, parts: Mapping[str, Part], golden: Matrix) -> Path:
    """Write `models/<sha>/` in one step and return it; writing it again changes nothing.

    Args:
        models: Folder of bundles, made where it is missing.
        manifest: Without `files`, which is filled in here.
        parts: The scorers, under the names of manifest.parts.
        golden: (n, n_features) rows whose scores every later load must give again.
    """
    return _place(models, manifest, _texts(parts, golden))


def stamp_version(path: Path, models: Path, version: str) -> Path:
    """Copy a bundle into `models` under the version the registry gave it; the new folder."""
    manifest = verify_bundle(path).model_copy(update={"version": version})
    return _place(models, manifest, {name: _read(path / name) for name in manifest.files})


def read_bundle(path: Path) -> Bundle:
    """Open a bundle after checking every hash, the first time in a child process.

    Raises:
        BundleError: A file is missing or has other bytes than the manifest says, the manifest has
            other bytes than the folder's name says, or the child died or scored otherwise.
    """
    verify_bundle(path)
    ensure_probed([path])
    return load_bundle(path)


def verify_bundle(path: Path) -> Manifest:
    """Check name and hashes of a bundle without parsing a model; the manifest comes back."""
    text = _read(path / "manifest.json")
    if _sha256(text) != path.name:
        raise _damaged(path, "manifest.json")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(f"bundle `{path.name[:12]}`: manifest of another version; promote again") from error
    for name, sha256 in manifest.files.items():
        if _sha256(_read(path / name)) != sha256:
            raise _damaged(path, name)
    return manifest


def load_bundle(path: Path) -> Bundle:
    """Open a bundle whose hashes hold; only training/golden.py calls this unprobed."""
    manifest = verify_bundle(path)
    parts = {name: _read_part(path, manifest, name) for name in manifest.parts}
    return Bundle(sha256=path.name, manifest=manifest, parts=parts)


def golden_rows(path: Path) -> dict[str, tuple[Matrix, Matrix]]:
    """Part -> (rows, scores those rows gave when the bundle was written)."""
    return {name: (_floats(case["rows"]), _floats(case["scores"]))
            for name, case in json.loads(_read(path / "golden.json")).items()}  # fmt: skip


def _place(models: Path, manifest: Manifest, texts: Mapping[str, bytes]) -> Path:
    hashes = {name: _sha256(text) for name, text in sorted(texts.items())}
    stamped = manifest.model_copy(update={"files": hashes})
    manifest_text = _canonical(stamped.model_dump(mode="json"))
    target = models / _sha256(manifest_text)
    if target.exists():
        return target
    models.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".writing-", dir=models))
    for name, text in {**texts, "manifest.json": manifest_text}.items():
        (draft / name).write_bytes(text)
    try:
        draft.rename(target)
    except OSError:  # a twin was faster; the name is the content, so his is as good as ours
        shutil.rmtree(draft)
        if not target.exists():
            raise
    return target


def _texts(parts: Mapping[str, Part], golden: Matrix) -> dict[str, bytes]:
    texts: dict[str, bytes] = {}
    cases: dict[str, dict[str, object]] = {}
    for name, part in parts.items():
        texts[_file(name, _SUFFIX[type(part)])] = _model_text(part)
        if isinstance(part, BoosterScorer | LogisticScorer):
            texts[_file(name, "calibrator.json")] = _canonical(part.calibrator.model_dump(mode="json"))
        rows = _fitting(golden, len(part.features))
        cases[name] = {"rows": _nulls(rows), "scores": _nulls(part.predict(rows))}
    texts["golden.json"] = _canonical(cases)
    return texts


def _model_text(part: Part) -> bytes:
    if isinstance(part, BoosterScorer):
        return part.booster.model_to_string().encode(_ENCODING)
    return _canonical(part.model.model_dump(mode="json"))


def _read_part(path: Path, manifest: Manifest, name: str) -> Part:
    features = manifest.parts[name].features
    kind = next((k for k, suffix in _SUFFIX.items() if _file(name, suffix) in manifest.files), None)
    if kind is None:
        raise BundleError(f"bundle `{path.name[:12]}`: part `{name}` has no file; promote again")
    text = _read(path / _file(name, _SUFFIX[kind]))
    if kind is ConstantScorer:
        return ConstantScorer(features, ConstantModel.model_validate_json(text))
    if kind is ValueFormula:
        return ValueFormula(features, ValueModel.model_validate_json(text))
    calibrator = Calibrator.model_validate_json(_read(path / _file(name, "calibrator.json")))
    if kind is LogisticScorer:
        return LogisticScorer(features, LogisticModel.model_validate_json(text), calibrator)
    return BoosterScorer(features, open_booster(text.decode(_ENCODING)), calibrator)


def _file(part: str, suffix: str) -> str:
    # Offer ids come from a file of the bank's; quoting keeps them inside the folder.
    return f"{quote(part, safe='')}.{suffix}"


def _fitting(golden: Matrix, width: int) -> Matrix:
    """The golden rows cut or filled to a part's width; pooled parts read one column more."""
    extra = width - golden.shape[1]
    if extra <= 0:
        return golden[:, :width]
    return np.column_stack([golden, np.zeros((len(golden), extra))])


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode(_ENCODING)


def _nulls(values: Matrix) -> object:
    exact = values.astype(object)
    exact[np.isnan(values)] = None
    return exact.tolist()


def _floats(values: list[object]) -> Matrix:
    return np.asarray(values, dtype=np.float64)  # None becomes NaN


def _sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        what = f"bundle `{path.parent.name[:12]}`: cannot read `{path.name}`"
        raise BundleError(f"{what}; promote the model again") from error


def _damaged(path: Path, file: str) -> BundleError:
    what = f"bundle `{path.name[:12]}`: `{file}` is not what was promoted (sha256 differs)"
    return BundleError(f"{what}; promote the model again or roll back")
