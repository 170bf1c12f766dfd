"""The gate: may a model go live, by what stands in its manifest alone. No data, no registry."""

from collections.abc import Mapping
from datetime import datetime

from training.bundle import Manifest
from training.errors import GateError
from training.evaluate import LEAST_TO_RANK

ECE_MOST = 0.10
_GAIN = ("lightgbm_auc", "logistic_auc", "gain", "gain_low", "gain_high")  # of each part that LightGBM serves
ONE_CLASS = ("no positives", "only positives")  # how the note of a constant begins that learned nothing
_SILENT = ("no channel outcomes", "no complaints or opt-outs")  # how an assumption begins that declares this
_DECLARED = frozenset({"reach", "harm"})  # may be of one class because the source says nothing


def gate(manifest: Manifest, live: Manifest | None = None) -> str:
    """The lines why a model may go live, joined by "; ".

    On rows later than all it learned from: the AUC's 95 % interval must lie above 0.5, with 20 rows of
    either class to say so; each part served
    by LightGBM must surely beat the logistic baseline fitted beside it (the interval of the difference on
    the same rows lies above 0), and all parts together not lose to it; the scores must be calibrated (ECE
    at most 0.10); and no alarm be raised: a feature from the future, a segment scored off by a factor of
    two, an age band treated worse (training/alarms.py). A baseline that won goes through the same, and is
    then what is served; a constant rate and a formula need not rank, but a label of one class is nothing
    to serve, unless the source is declared to be silent about it. Against the version that was live when
    it was trained no model, a constant least of all, may surely lose, on rows neither has learned from: it
    need not win, or nothing could ever be learned anew - unless it is cut earlier than what is live. Where such
    rows are too few to compare on, that is said, and a constant does not replace what ranks. A bank's own
    scores are laid beside the live interest model.

    Args:
        live: The version it would replace, or decide beside; None: there is none.

    Raises:
        GateError: The line that failed.
    """
    who = f"model `{manifest.name}` stays out"
    lines = _checked(manifest, live)
    failed = next((line for passed, line in lines if not passed), None)
    if failed is not None:
        raise GateError(f"{who}: {failed}")
    return "; ".join(line for _, line in lines)


def _checked(manifest: Manifest, live: Manifest | None) -> list[tuple[bool, str]]:
    """(passed, line) of each check, in order; the first that failed is the one that is told."""
    served = sorted(_served(manifest))
    empty = [(name, note.note) for name, note in manifest.parts.items() if note.note.startswith(ONE_CLASS)]
    if empty and manifest.name not in _DECLARED:
        return [(False, f"part `{empty[0][0]}`: {empty[0][1]}; import more history")]
    alarms = [(False, line) for line in manifest.alarms]
    figures = manifest.metrics
    beside = [*_beside_the_live(manifest, live), *_cut_earlier(manifest, live)]
    if set(served) <= {"constant", "formula"}:
        level = [] if figures.get("ece") is None else [_calibrated(figures["ece"] or 0.0)]
        return [(True, f"served by {', '.join(served)}: nothing simpler to lose against"), *beside, *level, *alarms]
    auc, low, ece = (figures.get(key) for key in ("auc", "auc_low", "ece"))
    if auc is None or low is None or ece is None:
        return [(False, "auc not measurable, the latest slice lacks a class; import more history")]
    lines = [_ranks(figures, auc, low), *_beside_the_baseline(manifest, auc), *beside, _calibrated(ece)]
    fair = figures.get("fairness_gap")
    shown = "not measurable, no two age bands with 20 positives" if fair is None else f"{fair:.4f} between age bands"
    return [
        *lines,
        *alarms,
        *([] if alarms else [(True, f"no feature from the future, segments hold, fairness gap {shown}")]),
    ]


def _ranks(figures: Mapping[str, float | None], auc: float, low: float) -> tuple[bool, str]:
    rows, positives = (figures.get(key) or 0.0 for key in ("rows", "positives"))
    if min(positives, rows - positives) < LEAST_TO_RANK:
        said = f"auc {auc:.4f} of {positives:.0f} positives in {rows:.0f} rows of the latest slice proves no ranking"
        return False, f"{said}, {LEAST_TO_RANK} of either class are needed; import more history"
    sure = low > 0.5
    rank = f"auc {auc:.4f} (from {low:.4f}) {'>' if sure else 'not surely above'} 0.5 on the latest slice"
    return sure, rank if sure else f"{rank}; look for better features"


def _calibrated(ece: float) -> tuple[bool, str]:
    holds = ece <= ECE_MOST
    error = f"ece {ece:.4f} {'<=' if holds else '>'} {ECE_MOST} on the latest slice"
    return holds, error if holds else f"{error}; calibrate on newer data"


def _beside_the_baseline(manifest: Manifest, auc: float) -> list[tuple[bool, str]]:
    lines: list[tuple[bool, str]] = []
    trees = {name: note.metrics for name, note in manifest.parts.items() if note.served == "lightgbm"}
    for name, figures in trees.items():
        own, logistic, gain, low, high = (figures.get(key) for key in _GAIN)
        if own is None or logistic is None or gain is None or low is None or high is None:
            lines.append((False, f"part `{name}`: no logistic baseline was measured beside it; train it again"))
            continue
        said = f"part `{name}`: auc {own:.4f} of lightgbm against {logistic:.4f} of logistic, gain {gain:+.4f} ({low:+.4f} to {high:+.4f})"
        lines.append((low > 0, said if low > 0 else f"{said} not surely above 0; tune, or serve the baseline"))
    together, logistic, low, high = (
        manifest.metrics.get(key) for key in ("gain", "logistic_auc", "gain_low", "gain_high")
    )
    if trees and together is not None and logistic is not None and low is not None and high is not None and high < 0:
        said = f"auc {auc:.4f} against {logistic:.4f} of the logistic baseline, gain {together:+.4f} ({low:+.4f} to {high:+.4f})"
        lines.append((False, f"all parts: {said}; serve the baseline"))
    return lines


def _beside_the_live(manifest: Manifest, live: Manifest | None) -> list[tuple[bool, str]]:
    figures = manifest.metrics
    gain, low, high = (figures.get(key) for key in ("live_gain", "live_gain_low", "live_gain_high"))
    if gain is None or low is None or high is None:
        return _not_compared(manifest, live)
    rival, remedy = _rival(manifest)
    said = f"against {rival}, on rows neither has learned from, auc {gain:+.4f} ({low:+.4f} to {high:+.4f})"
    return [(high >= 0, said if high >= 0 else f"{said}: surely worse; {remedy}")]


def _not_compared(manifest: Manifest, live: Manifest | None) -> list[tuple[bool, str]]:
    """The line about a comparison that was not made, where there was something to compare with."""
    silent = any(line.startswith(_SILENT) for line in manifest.assumptions)
    if silent or _served(manifest) == {"formula"} or (live is None and "live_rows" not in manifest.metrics):
        return []
    rows, positives = (manifest.metrics.get(key) or 0.0 for key in ("live_rows", "live_positives"))
    said = f"not compared with {_rival(manifest)[0]}: {rows:.0f} rows, {positives:.0f} positives, that neither has learned from"
    if live is not None and _served(manifest) == {"constant"} and not _served(live) <= {"constant", "formula"}:
        return [(False, f"{said}, too few to tell that a constant ranks no worse; keep what is live")]
    return [(True, said)]


def _rival(manifest: Manifest) -> tuple[str, str]:
    """What it was laid beside, and what to do where that is better: a bank's own scores displace the interest model."""
    if _served(manifest) == {"supplied"}:
        return "the live model `interest`", "leave the family to it"
    return "the live version", "keep what is live"


def _served(manifest: Manifest) -> set[str]:
    return {note.served for note in manifest.parts.values()}


def _cut_earlier(manifest: Manifest, live: Manifest | None) -> list[tuple[bool, str]]:
    """The line about a model that knows less of the present than what it would replace."""
    if live is None or datetime.fromisoformat(manifest.trained_as_of) >= datetime.fromisoformat(live.trained_as_of):
        return []
    said = f"cut at {manifest.trained_as_of}, before the live version's {live.trained_as_of}"
    if (manifest.metrics.get("live_gain_low") or 0.0) > 0:
        return [(True, f"{said}, and surely ranks better on rows neither has learned from")]
    why = "" if _served(manifest) == {"formula"} else ", and does not surely rank better on later rows"
    return [(False, f"{said}{why}; take a later cut, or keep what is live")]
