"""The shipped list of columns is what the features room really declares for the example bank."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from features.home import Home, Settings
from features.store import FeatureStore
from features.tables import TABLES
from rules.column import columns_text, read_columns
from rules.commands import app
from rules.folder import COLUMNS
from simulation.fixed import products_table
from tests import bank


def example_home(folder: Path) -> Home:
    """A home with the example bank's currencies and products and one customer."""
    home = Home.create(
        folder, Settings(name="Example", currency="CNY", currencies=("CNY", "USD", "EUR", "JPY"), zone="Asia/Shanghai")
    )
    rows = {"customers": [{"customer_id": "A", "kind": "person"}], "products": products_table().to_pylist()}
    for name, found in rows.items():
        home.table(name).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(found, schema=TABLES[name].schema), home.table(name) / "part-0.parquet")
    return home


def test_the_shipped_columns_are_the_features_of_the_example_bank(tmp_path: Path) -> None:
    declared = FeatureStore(example_home(tmp_path / "home")).schema
    features = pa.schema([field for field in declared if field.metadata])
    assert read_columns(COLUMNS).equals(features, check_metadata=True), (
        "features have changed: nbo --home HOME rules columns > rules/policies/retail.columns.yaml"
    )


def test_the_command_prints_the_columns_of_the_newest_snapshot(tmp_path: Path) -> None:
    home = example_home(tmp_path / "home")
    schema = FeatureStore(home).schema
    (home.path / "policies").mkdir(exist_ok=True)
    (home.path / "policies" / "retail.yaml").write_text((bank.POLICIES / "retail.yaml").read_text("utf-8"), "utf-8")
    home.catalogue.write_text((bank.POLICIES / "retail.catalogue.yaml").read_text("utf-8"), "utf-8")
    home.features.mkdir(exist_ok=True)
    with pa.ipc.new_file(str(home.features / "20260601T000000Z.arrow"), schema) as file:
        file.write_table(schema.empty_table())
    said = CliRunner().invoke(app, ["columns"], obj=home.path)
    assert said.stdout == columns_text(read_columns(COLUMNS))
