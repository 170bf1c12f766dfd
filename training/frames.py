"""What a notebook reads: pandas frames of features, labels, scores and reports."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd

from features.home import Home
from features.store import FeatureStore
from training.bundle import read_bundle
from training.errors import DatasetError, RegistryError
from training.offpolicy import PolicyValue
from training.registry import Registry, temporary_folder
from training.score import read_live
from training.served import MONITORED, mature_rows
from training.study import Study
from training.train import TrainedModel


def features_frame(home: Home, as_of: datetime | None = None) -> pd.DataFrame:
    """The newest snapshot at or before an instant (default: the home's present), a row per customer.

    customer_id is the index; unit_id, as_of and every feature are columns, null where unknown.
    DatasetError where there is no snapshot.
    """
    snapshot = FeatureStore(home).newest(as_of or home.now())
    if snapshot is None:
        raise DatasetError("no feature snapshot at or before that instant; nbo features build --as-of T")
    return snapshot.table.to_pandas().set_index("customer_id")


def feature_list(home: Home) -> pd.DataFrame:
    """Every feature the home gives: name (index), type, and its metadata - unit, domain, what null means."""
    fields = FeatureStore(home).schema
    told = [{key.decode(): value.decode() for key, value in (field.metadata or {}).items()} for field in fields]
    frame = pd.DataFrame(
        [{"name": field.name, "type": str(field.type), **more} for field, more in zip(fields, told, strict=True)]
    )
    return frame.set_index("name").iloc[3:]  # without the keys


def training_frame(home: Home, model: str, as_of: datetime | None = None) -> pd.DataFrame:
    """The rows a model of that name is learned from, with features as of each row's own instant.

    unit_id, item (offer or channel), campaign_id, slice (-1 left out, 0 train, 1 tune, 2 calibrate, 3 test)
    and label (0 or 1, ripe at as_of) come first, then the features as numbers; text is a code.
    DatasetError where there is nothing to learn from; RegistryError for another name.
    """
    if model not in MONITORED:
        raise RegistryError(f"no rows are kept for `{model}`; there are {', '.join(MONITORED)}")
    study = Study(home, FeatureStore(home), as_of or home.now(), lambda *_: None)
    data = {"interest": study.interest, "reach": study.reach, "harm": study.harm, "churn": study.churn}[model]()
    first = pd.DataFrame(
        {
            "unit_id": data.owners,
            "item": data.items,
            "campaign_id": data.groups,
            "slice": data.slices,
            "label": data.label,
        }
    )
    return pd.concat([first, pd.DataFrame(data.matrix, columns=list(data.names))], axis=1)


def scored_frame(home: Home, model: str, since: datetime, version: str | None = None) -> pd.DataFrame:
    """What a model says of the rows that ripened since, beside what happened.

    version: of the registry, live or not; null: the live one. unit_id, item, label (0 or 1), score, weight: how
    many rows each stands for, where they were drawn.
    RegistryError where there is no such version, or none is live.
    """
    live = read_live(home.models)
    if version is not None:
        with temporary_folder() as folder:
            bundle = read_bundle(Registry.open(home.mlflow_uri).fetch(model, version, Path(folder)))
    elif model in live:
        bundle = read_bundle(home.models / live[model])
    else:
        raise RegistryError(f"model `{model}` is not live; nbo models promote {model} VERSION")
    _, rows = mature_rows(home, model, {"it": bundle}, since)
    return pd.DataFrame({"unit_id": rows.owners, "item": rows.items, "label": rows.label, "score": rows.scores["it"],
                         "weight": rows.weight})  # fmt: skip


def trained_frame(models: Sequence[TrainedModel]) -> pd.DataFrame:
    """Trained models side by side: a row each, name and version, what is served, and its figures."""
    rows = [{"name": m.name, "version": m.version, "served": ", ".join(sorted(set(m.served.values()))), "rows": m.rows, **m.metrics}
            for m in models]  # fmt: skip
    return pd.DataFrame(rows).set_index("name")


def policy_frame(found: PolicyValue, policy: str) -> pd.DataFrame:
    """An off-policy report: a row for the log and for each method, with value, low and high per decision."""
    told = [("the log", "as logged", found.logged), *((policy, name, value) for name, value in found.values.items())]  # noqa: PD011
    return pd.DataFrame(
        [{"policy": p, "method": name, "value": e.value, "low": e.low, "high": e.high} for p, name, e in told]
    )
