"""One row at a time through LightGBM's own C entry for that, `...PredictForMatSingleRowFast`.

`Booster.predict` spends most of a single row's time on arguments (50 us against 8). The entry is
reached by ctypes in the library that lightgbm itself has loaded, and is used only where it gave
the very bits of `Booster.predict` on rows drawn for that; `FALLBACKS` counts where it did not.
"""

import ctypes
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from training.encode import Matrix

if TYPE_CHECKING:
    import lightgbm as lgb

_FLOAT64, _NORMAL = 1, 0  # C_API_DTYPE_FLOAT64, C_API_PREDICT_NORMAL
_ALONE = b"num_threads=1"
_TRIED, _NULLS = 64, 0.1
FALLBACKS = [0]  # boosters of this process that are read through Booster.predict; a metric


class SingleRowError(RuntimeError):
    """The entry refused a row or a configuration."""


class SingleRow:
    """A booster's rows one by one, (n, n_features) contiguous float64 in, raw scores (n,) out.

    Safe from several threads: each has its own buffers in the library, freed with the thread.
    """

    def __init__(self, booster: "lgb.Booster", n_features: int) -> None:
        import lightgbm as lgb  # whoever holds a booster has imported it

        self._booster, self._width = booster, n_features  # the handle lives as long as the booster
        self._library: Any = ctypes.CDLL(lgb.basic._LIB._name)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]  # our own function objects: theirs stay untouched
        self._predict: Any = self._library.LGBM_BoosterPredictForMatSingleRowFast
        self._predict.argtypes = [ctypes.c_void_p] * 4
        self._mine = threading.local()

    def predict(self, matrix: Matrix) -> Matrix:
        """Raw scores as Booster.predict gives them, (n,)."""
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        found, length = np.empty(len(rows)), ctypes.c_int64(0)
        config, at, out = self._config(), rows.ctypes.data, found.ctypes.data
        read, predict, step = ctypes.addressof(length), self._predict, rows.strides[0]
        for place in range(len(rows)):
            if predict(config, at + place * step, read, out + place * 8):
                raise SingleRowError("a single row was refused")
        return found

    def _config(self) -> Any:
        held = getattr(self._mine, "held", None)
        if held is None:
            held = self._mine.held = _Config(self._library, self._booster, self._width)
        return held.pointer


def open_single_row(booster: "lgb.Booster", n_features: int, library: type[SingleRow] = SingleRow) -> SingleRow | None:
    """The fast path of a booster, or None where it is missing or differs in one bit from Booster.predict."""
    rows = _drawn(n_features)
    try:
        fast = library(booster, n_features)
        mine = fast.predict(rows)
    except (AttributeError, OSError, SingleRowError):  # another build of the library
        FALLBACKS[0] += 1
        return None
    theirs = np.concatenate([np.asarray(booster.predict(row[None], num_threads=1, validate_features=False))
                             for row in rows])  # fmt: skip
    if mine.tobytes() == theirs.tobytes():
        return fast
    FALLBACKS[0] += 1
    return None


class _Config:
    """The library's buffers for one thread and booster."""

    def __init__(self, library: Any, booster: "lgb.Booster", width: int) -> None:
        self._library, self.pointer = library, ctypes.c_void_p()
        last = booster.best_iteration if booster.best_iteration > 0 else -1
        failed = library.LGBM_BoosterPredictForMatSingleRowFastInit(
            booster._handle,  # pyright: ignore[reportPrivateUsage]  # the library's own name of the model
            ctypes.c_int(_NORMAL), ctypes.c_int(0), ctypes.c_int(last), ctypes.c_int(_FLOAT64),
            ctypes.c_int32(width), ctypes.c_char_p(_ALONE), ctypes.byref(self.pointer),
        )  # fmt: skip
        if failed:
            raise SingleRowError("no single-row configuration")

    def __del__(self) -> None:
        if self.pointer:
            self._library.LGBM_FastConfigFree(self.pointer)


def _drawn(width: int) -> Matrix:
    """Rows of small codes, wide money and nulls: they reach both sides of most splits."""
    rng = np.random.default_rng(11)
    wide = rng.normal(0, 1, (_TRIED, width)) * 10.0 ** rng.integers(-1, 8, (_TRIED, width))
    rows = np.where(rng.random((_TRIED, width)) < 0.5, rng.integers(0, 4, (_TRIED, width)), wide)
    return np.where(rng.random((_TRIED, width)) < _NULLS, np.nan, rows)
