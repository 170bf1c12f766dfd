"""What another policy would have brought, from a log of choices whose probabilities were logged.

    w_i  = p_policy / p_log of the choice that was made        (clipped at `clip` where one is declared)
    IPS  = mean w_i r_i                                        unbiased where the log supports the policy
    SNIPS = sum w_i r_i / sum w_i                              steadier, bias of order 1/n
    DR   = mean [q_policy_i + w_i (r_i - q_chosen_i)]          right if either the probabilities or q are

Intervals are normal, from the influence of each unit: the decisions of one household are not
independent. Sources: Horvitz and Thompson (1952); Swaminathan and Joachims, The Self-Normalized
Estimator (2015); Dudik, Langford and Li, Doubly Robust Policy Evaluation (2011).

A figure without support is worse than none, so there is none: see `SupportError`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.clustered import clustered_error
from training.encode import Matrix
from training.errors import DatasetError, TrainingError

LEAST_ESS = 200.0  # below it a handful of decisions make the figure
MOST_CLIPPED = 0.02  # share of decisions whose weight the clip may cut
MOST_Z = 4.0  # standard errors that the mean weight may be off 1
LEAST_REWARDED = 30.0  # effective rewarded decisions below which the normal interval is too narrow
_Z95 = 1.959964


class SupportError(TrainingError):
    """The log cannot say what the policy would have brought; the line says why. Exit 1, not 2."""


@dataclass(frozen=True)
class Sample:
    """A log beside a policy, one row per decision, (n,) each.

    reward: what came of it, any unit. p_log: the logged probability of the choice made, in (0, 1].
    p_policy: the policy's probability of the same choice. q_chosen, q_policy: a model's reward of
    the choice and of the policy, learned from other rows; both or neither.
    """

    units: npt.NDArray[np.str_]
    reward: Matrix
    p_log: Matrix
    p_policy: Matrix
    q_chosen: Matrix | None = None
    q_policy: Matrix | None = None


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error by unit and 95 % interval."""

    value: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True)
class PolicyValue:
    """What the policy would have brought per decision.

    logged: what was brought. gains: method -> policy less log, paired, so that its interval says
    whether the policy is better. ess: (sum w)^2 / sum w^2 decisions; ess_rewarded: the same over
    those with a reward. mean_weight: 1 within its error where the probabilities are right.
    """

    n_decisions: int
    n_units: int
    ess: float
    ess_rewarded: float
    mean_weight: float
    most_weight: float
    clip: float | None
    clipped_share: float
    logged: Estimate
    values: dict[str, Estimate]
    gains: dict[str, Estimate]
    notes: tuple[str, ...]


def effective_sample_size(weight: Matrix) -> float:
    """Decisions of equal weight that would be worth as much, (sum w)^2 / sum w^2 (Kish); 0 for none."""
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares else 0.0


def value_of(sample: Sample, clip: float | None = None) -> PolicyValue:
    """Estimate the policy's mean reward by IPS, SNIPS and - where q is given - DR.

    clip: largest weight, declared in the answer; null: none is cut.

    Raises:
        DatasetError: Shapes differ, or a number is missing or out of range.
        SupportError: Fewer than 200 effective decisions, over 2 % of the weights clipped, or weights that do not
            average 1 - so the probabilities are not those the log drew with.
    """
    _check(sample, clip)
    owners = np.unique(sample.units, return_inverse=True)[1]
    raw = sample.p_policy / sample.p_log
    ess = effective_sample_size(raw if clip is None else np.minimum(raw, clip))
    _refuse_without_support(raw, ess, owners, clip)
    weight = raw if clip is None else np.minimum(raw, clip)
    values, influences = _estimates(sample, weight)
    logged = float(sample.reward.mean())
    from_log = sample.reward - logged
    rewarded = effective_sample_size(weight * np.abs(sample.reward))
    notes = [] if clip is None else [f"weights clipped at {clip:g}: IPS and DR lean towards the log"]
    if rewarded < LEAST_REWARDED:
        notes.append(f"only {rewarded:.0f} effective rewarded decisions: the intervals are too narrow")
    return PolicyValue(
        n_decisions=len(raw), n_units=int(owners.max()) + 1, ess=ess, ess_rewarded=rewarded,
        mean_weight=float(raw.mean()), most_weight=float(weight.max()), clip=clip,
        clipped_share=0.0 if clip is None else float((raw > clip).mean()),
        logged=_estimate(logged, from_log, owners),
        values={name: _estimate(value, influences[name], owners) for name, value in values.items()},
        gains={name: _estimate(value - logged, influences[name] - from_log, owners) for name, value in values.items()},
        notes=tuple(notes),
    )  # fmt: skip


def _estimates(sample: Sample, weight: Matrix) -> tuple[dict[str, float], dict[str, Matrix]]:
    """Method -> value, and -> influence of each decision: value_hat - value is about its mean."""
    reward = sample.reward
    ips, snips = float((weight * reward).mean()), float((weight * reward).sum() / weight.sum())
    values = {"ips": ips, "snips": snips}
    influences = {"ips": weight * reward - ips, "snips": weight * (reward - snips) / weight.mean()}
    if sample.q_chosen is not None and sample.q_policy is not None:
        parts = sample.q_policy + weight * (reward - sample.q_chosen)
        values["dr"] = float(parts.mean())
        influences["dr"] = parts - values["dr"]
    return values, influences


def _estimate(value: float, influence: Matrix, owners: npt.NDArray[np.intp]) -> Estimate:
    error = clustered_error(influence, owners) / len(influence)
    return Estimate(value, error, value - _Z95 * error, value + _Z95 * error)


def _refuse_without_support(raw: Matrix, ess: float, owners: npt.NDArray[np.intp], clip: float | None) -> None:
    if ess < LEAST_ESS:
        raise SupportError(
            f"no support: {ess:.0f} effective of {len(raw)} decisions, {LEAST_ESS:.0f} are needed;"
            " the log rarely chooses what the policy would; explore more, or evaluate a policy nearer to the log"
        )
    clipped = 0.0 if clip is None else float((raw > clip).mean())
    if clipped > MOST_CLIPPED:
        raise SupportError(
            f"no support: {clipped:.1%} of the weights are above --clip {clip:g}, at most {MOST_CLIPPED:.0%} may be;"
            " the figure would be the clip's; raise it or evaluate a policy nearer to the log"
        )
    mean = float(raw.mean())
    error = clustered_error(raw - mean, owners) / len(raw)
    if abs(mean - 1.0) > MOST_Z * error + 1e-9:
        raise SupportError(
            f"wrong probabilities: the weights average {mean:.3f} +- {error:.3f}, not 1;"
            " what is logged is not what the log chose with, or the policy chooses outside the log"
        )


def _check(sample: Sample, clip: float | None) -> None:
    n = len(sample.units)
    columns = {"reward": sample.reward, "p_log": sample.p_log, "p_policy": sample.p_policy,
               "q_chosen": sample.q_chosen, "q_policy": sample.q_policy}  # fmt: skip
    for name, column in columns.items():
        if column is not None and (column.shape != (n,) or not np.isfinite(column).all()):
            raise DatasetError(f"`{name}` must hold {n} finite numbers, one per decision; mend the log")
    if len(np.unique(sample.units)) < 2:
        raise DatasetError("the log holds fewer than two units with a ripe reward; nothing can be estimated")
    logged, wanted = sample.p_log, sample.p_policy
    if logged.min() <= 0 or logged.max() > 1 or wanted.min() < 0 or wanted.max() > 1:
        raise DatasetError("probabilities must lie in (0, 1] for the log and [0, 1] for the policy; mend the log")
    if (sample.q_chosen is None) != (sample.q_policy is None):
        raise DatasetError("doubly robust needs both `q_chosen` and `q_policy`; give both or neither")
    if clip is not None and not clip >= 1:
        raise DatasetError(f"--clip {clip:g} would cut weights of the log itself; give 1 or more")
