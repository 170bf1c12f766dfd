"""`nbo train table`: any Parquet or CSV in, figures, alarms and scores out.

Exit 0 when the model is trained, also with alarms - they stand in `alarms` and on the first lines -
2 with one line when the table cannot be learned from; then nothing is written.
"""

from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from features.terminal import AsJson
from training.errors import DatasetError
from training.tablefile import read_table, write_table
from training.tablereport import SEED, lines

Text = str | None


def train_table_command(
    file: Annotated[Path, typer.Argument(help="Parquet or CSV; the delimiter is found.")],
    label: Annotated[str, typer.Option(help="Column of two values to predict.")],
    treatment: Annotated[Text, typer.Option(help="Column that says who was contacted: learn uplift.")] = None,
    treated: Annotated[Text, typer.Option(help="Its value that means contacted, where they are not 0 and 1.")] = None,
    id: Annotated[Text, typer.Option(help="Column that names rows; copied to the predictions.")] = None,
    time: Annotated[Text, typer.Option(help="Column that orders rows; @row: the file's order.")] = None,
    group: Annotated[Text, typer.Option(help="Column whose rows stay on one side of each split.")] = None,
    drop: Annotated[str, typer.Option(help="Columns to leave out: A,B.")] = "",
    test: Annotated[Path | None, typer.Option(help="Measure on this file instead of a part.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Write id and score here, Parquet or CSV.")] = None,
    value: Annotated[float | None, typer.Option(help="Of one outcome: with --cost the break-even.")] = None,
    cost: Annotated[float | None, typer.Option(help="Of one contact.")] = None,
    trials: Annotated[int, typer.Option(min=0, max=1000, help="Settings to try; 0: the shipped ones.")] = 0,
    seed: Annotated[int, typer.Option(help="Of splits, trees and resamples.")] = SEED,
    json: AsJson = False,
) -> None:
    """Train on any table: logistic and LightGBM side by side, honest split, leakage alarm."""
    from training.table import answer  # the other commands have no use for what it imports
    from training.tableparts import Question

    dropped = tuple(name.strip() for name in drop.split(",") if name.strip())
    asked = Question(label=label, treatment=treatment, id=id, time=time, group=group, drop=dropped, trials=trials,
                     seed=seed, value=value, cost=cost, treated=treated)  # fmt: skip
    if predictions is not None and not predictions.parent.is_dir():
        raise DatasetError(f"no folder `{predictions.parent}`; name a file in a folder that exists")
    text = [] if id is None else [id]
    frame = read_table(file, text)
    tested = None if test is None else read_table(test, text)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("reading", total=None)

        def show(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=total)

        found = answer(frame, tested, asked, show)
    report = found.report
    if predictions is not None:
        write_table(pl.from_pandas(found.predictions), predictions)
        report = report.model_copy(update={"predictions": str(predictions)})
    typer.echo("\n".join(lines(report)), err=json)
    if json:
        typer.echo(report.model_dump_json())
