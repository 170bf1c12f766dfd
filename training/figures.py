"""The figures of what will be served, beside those of every rival in the same run."""

from training.dataset import Dataset
from training.encode import Feature, Matrix
from training.evaluate import Metrics, auc, evaluate, within_group_auc
from training.learn import Learned


def figures(data: Dataset, pooled: Learned, own: dict[str, Learned], context: Feature | None, seed: int) -> Metrics:
    """What serving would have scored on these rows, beside what each baseline would have.

    auc ... of the served parts; `logistic_auc`, `recency_frequency_auc`, `lightgbm_auc` of the
    pooled candidates; `within_group_auc` inside campaigns, `within_item_auc` inside offers or
    channels, each also for the candidates.
    """
    if not len(data.label):
        return {}
    wide = data if context is None else data.with_item(context)
    p = pooled.scorer.predict(wide.matrix)
    for item, part in own.items():
        mine = data.items == item
        p[mine] = part.scorer.predict(data.matrix[mine])
    found = evaluate(data.label, p, data.owners, seed) | _within("", data, p)
    for name, scorer in pooled.candidates.items():
        rival = scorer.predict(wide.matrix)
        found |= {f"{name}_auc": _short(auc(data.label, rival)), **_within(f"{name}_", data, rival)}
    return found


def _within(prefix: str, data: Dataset, p: Matrix) -> Metrics:
    found: Metrics = {}
    for what, groups in (("group", data.groups), ("item", data.items)):
        if len(set(groups.tolist())) > 1:
            found[f"{prefix}within_{what}_auc"] = _short(within_group_auc(data.label, p, groups))
    return found


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
