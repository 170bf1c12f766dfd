"""The figures of what will be served, beside those of every rival in the same run."""

from training.dataset import Dataset, Names
from training.encode import Feature, Matrix
from training.evaluate import Metrics, auc, evaluate, gain_interval, within_group_auc
from training.learn import Learned


def scores_of(data: Dataset, pooled: Learned, own: dict[str, Learned], context: Feature | None, *,
              served: bool = False) -> Matrix:  # fmt: skip
    """Scores of the measured models (served: of those refitted for serving), (n,), each item by its own part."""
    wide = data if context is None else data.with_item(context)
    p = (pooled.scorer if served else pooled.measured).predict(wide.matrix)
    for item, part in own.items():
        mine = data.items == item
        p[mine] = (part.scorer if served else part.measured).predict(data.matrix[mine])
    return p


def figures(data: Dataset, pooled: Learned, own: dict[str, Learned], context: Feature | None, seed: int, *,
            served: bool = False) -> Metrics:  # fmt: skip
    """What the models would have scored on these rows, beside what each baseline would have.

    auc ... of the parts that were chosen; `logistic_auc`, `recency_frequency_auc`, `lightgbm_auc` of
    the pooled candidates; `gain`, `gain_low`, `gain_high` how much higher the AUC is than the logistic
    baseline's; `within_group_auc` inside campaigns, `within_item_auc` inside offers or channels, each
    also for the candidates. Empty where there are no rows.
    """
    if not len(data.label):
        return {}
    wide = data if context is None else data.with_item(context)
    p = scores_of(data, pooled, own, context, served=served)
    found = evaluate(data.label, p, data.owners, seed, data.weight) | _within("", data, p)
    for name, scorer in pooled.candidates.items():
        rival = scorer.predict(wide.matrix)
        found |= {f"{name}_auc": _short(auc(data.label, rival, data.weight)), **_within(f"{name}_", data, rival)}
        if name == "logistic":
            gain = gain_interval(data.label, p, rival, data.owners, seed, data.weight)
            found |= {"gain": _short(gain.value), "gain_low": _short(gain.low), "gain_high": _short(gain.high)}
    return found


def _within(prefix: str, data: Dataset, p: Matrix) -> Metrics:
    found: Metrics = {}
    by: tuple[tuple[str, Names], ...] = (("group", data.groups), ("item", data.items))
    for what, groups in by:
        if len(set(groups.tolist())) > 1:
            found[f"{prefix}within_{what}_auc"] = _short(within_group_auc(data.label, p, groups, data.weight))
    return found


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
