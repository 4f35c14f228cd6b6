"""``dreg download``."""

from typing import Annotated

import typer

from dregcli.app.places import data_folder
from dregcli.cli.options import DataDir, Json, Quiet
from dregcli.cli.render import Terminal

EXAMPLES = """From its mirrors:  [bold]dreg download mnist[/bold]

From a folder with the IDX files, packed or not:  [bold]dreg download mnist --source ~/mnist-files[/bold]

From another mirror:  [bold]dreg download mnist --source https://example.org/mnist/[/bold]"""


def download(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET...", help="digits (embedded), mnist.")],
    source: Annotated[
        str | None, typer.Option(help="A folder, a .gz or plain IDX file, or an address, instead of the mirrors.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch data sets, verify their content and keep them in the data folder."""
    from dregcli.app.download import DownloadResult, download_dataset

    terminal = Terminal(as_json=as_json, quiet=quiet)
    results: list[DownloadResult] = []
    try:
        for name in datasets:
            folder = data_folder(data_dir)
            results.append(download_dataset(name, folder, source=source, listener=terminal))
    finally:
        terminal.close()
    if as_json:
        terminal.result(
            {
                "results": [
                    {
                        "dataset": result.dataset.name,
                        "outcome": result.outcome.value,
                        "path": str(result.path) if result.path else None,
                        "source": result.dataset.source,
                        "checksum": result.dataset.checksum,
                        "split_convention": result.dataset.split_convention,
                        "splits": {split.value: len(rows) for split, rows in result.dataset.splits.items()},
                    }
                    for result in results
                ]
            }
        )
        return
    terminal.table(
        ["data set", "outcome", "train", "valid", "test", "image", "where"],
        [
            [
                result.dataset.name,
                result.outcome.value,
                *(f"{len(rows):,}" for rows in result.dataset.splits.values()),
                f"{result.dataset.height}x{result.dataset.width}",
                str(result.path or "with the program"),
            ]
            for result in results
        ],
    )
    terminal.line(f"next: dreg train --dataset {results[-1].dataset.name}")
