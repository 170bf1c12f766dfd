"""Decision logs with known truth: five kinds of customer, four actions, three decisions a household."""

import numpy as np
import polars as pl

KINDS, ACTIONS = 5, ("call", "sms", "app", "silence")
_RNG = np.random.default_rng(11)
TRUTH = _RNG.uniform(0.05, 0.6, (KINDS, len(ACTIONS)))  # the mean reward of each action for each kind
LOGGED = 0.12 + 0.52 * np.eye(len(ACTIONS))[_RNG.integers(0, len(ACTIONS), KINDS)]  # one favourite, the rest 12 % each
WANTED = 0.05 + 0.8 * np.eye(len(ACTIONS))[TRUTH.argmax(axis=1)]  # a policy that knows the best
TARGET_VALUE = float((WANTED * TRUTH).sum(axis=1).mean())
BEST_VALUE = float(TRUTH[np.arange(KINDS), LOGGED.argmax(axis=1)].mean())
UNIFORM_VALUE = float(TRUTH.mean())


def draw(seed: int, n_units: int = 700, per_unit: int = 3, shared: float = 0.3) -> dict[str, np.ndarray]:
    """Arrays of one log, (n,): unit, kind, action, reward, p_log, p_policy and a model's q of both.

    shared: how much of a household's luck its decisions share; the mean reward stays the truth.
    """
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(n_units), per_unit)
    kind = np.repeat(rng.integers(0, KINDS, n_units), per_unit)
    action = (rng.random(len(unit))[:, None] > LOGGED[kind].cumsum(axis=1)).sum(axis=1).clip(0, len(ACTIONS) - 1)
    luck = np.repeat(rng.choice([-shared, shared], n_units), per_unit)
    p = TRUTH[kind, action] * (1 + luck)
    reward = (rng.random(len(unit)) < p).astype(np.float64)
    q = np.clip(TRUTH[kind] + 0.1 * np.sin(np.arange(len(ACTIONS))), 0, 1)  # a model that is a little off
    rows = np.arange(len(unit))
    return {"unit": unit.astype(str), "kind": kind, "action": action, "reward": reward,
            "p_log": LOGGED[kind, action], "p_policy": WANTED[kind, action],
            "q_chosen": q[rows, action], "q_policy": (WANTED[kind] * q).sum(axis=1)}  # fmt: skip


def table(seed: int, n_units: int = 700, per_unit: int = 3) -> pl.DataFrame:
    """The same log as a table, every action of every decision a row, `wanted` the policy's column."""
    log, n = draw(seed, n_units, per_unit), len(ACTIONS)
    size = len(log["unit"])
    kind = np.repeat(log["kind"], n)
    place = np.tile(np.arange(n), size)
    chosen = place == np.repeat(log["action"], n)
    return pl.DataFrame({
        "decision_id": [f"d{i:06d}" for i in np.repeat(np.arange(size), n)], "unit_id": np.repeat(log["unit"], n),
        "action": np.asarray(ACTIONS)[place], "p_log": LOGGED[kind, place], "chosen": chosen,
        "reward": pl.Series(np.where(chosen, np.repeat(log["reward"], n), np.nan)).fill_nan(None),
        "wanted": WANTED[kind, place],
    })  # fmt: skip
