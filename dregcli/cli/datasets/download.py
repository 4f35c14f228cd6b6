"""``dreg download``."""

from typing import Annotated

import typer

from dregcli.app.common.places import data_folder, training_command
from dregcli.cli.datasets.plain import dataset_json, image_in_words
from dregcli.cli.options import DataDir, Json, Quiet
from dregcli.cli.render import Terminal
from dregcli.names import DatasetName, Split

EXAMPLES = """Download a data set:  [bold]dreg download mnist[/bold]

Download all data sets:  [bold]dreg download --all[/bold]

Read a folder with the published files, packed or not:  [bold]dreg download mnist --source ~/mnist-files[/bold]

Use another mirror:  [bold]dreg download mnist --source https://example.org/mnist/[/bold]

To continue a download that was interrupted, run the same command again."""


def download(
    datasets: Annotated[
        list[str] | None, typer.Argument(metavar="DATASET", help=f"Data sets to fetch: {', '.join(DatasetName)}.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Fetch every data set, and report all failures at the end.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(help="Use a folder, a published file or an address instead of the mirrors."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.", envvar="DREG_OFFLINE")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Download data sets, verify their content, and keep them in the data folder."""
    from dregcli.app.datasets.download import download_datasets

    folder = data_folder(data_dir)
    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        downloads = download_datasets(
            datasets or [],
            folder,
            everything=everything,
            source=source,
            offline=offline,
            listener=terminal,
        )
    error = downloads.error()
    if as_json:
        failures = [
            {"dataset": name, "what": each.what, "where": each.where, "next": each.hint, "exit_code": each.exit_code}
            for name, each in downloads.failures.items()
        ]
        results = [
            {
                **dataset_json(result),
                "outcome": result.outcome.value,
                "path": str(result.path) if result.path else None,
                "notes": list(result.notes),
            }
            for result in downloads.results
        ]
        terminal.result({"results": results, **({"failures": failures} if failures else {})})
    elif downloads.results:
        terminal.table(
            ["data set", "outcome", "kind", "train", "valid", "test", "image", "where"],
            [
                [
                    result.dataset.name,
                    result.outcome.value,
                    result.dataset.kind.value,
                    *(f"{len(rows):,}" for rows in result.dataset.splits.values()),
                    image_in_words(result.dataset.image),
                    str(result.path or "with the program"),
                ]
                for result in downloads.results
            ],
        )
        if not error:
            last = downloads.results[-1].dataset
            command = training_command(last.name, folder, examples=len(last.splits[Split.TRAIN]))
            terminal.line(f"next: {command}")
    if error:
        # The one JSON object is already printed, so the error is only shown to people.
        Terminal(quiet=quiet).error(error)
        return error.exit_code
    return 0
