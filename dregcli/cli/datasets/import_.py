"""``dreg data import``."""

from pathlib import Path
from typing import Annotated

import typer

from dregcli.app.common.places import data_folder, training_command
from dregcli.cli.datasets.plain import dataset_json, image_in_words
from dregcli.cli.datasets.preview import preview
from dregcli.cli.options import DataDir, Json, Quiet
from dregcli.cli.render import Terminal
from dregcli.names import Channels, DataKind, Flip, Split

EXAMPLES = """Import an array, with a random tenth for validation and a tenth for testing:  \
[bold]dreg data import images.npy --name mine[/bold]

Import the splits of a file:  [bold]dreg data import faces.mat --key train=trainX --key test=testX --shape 28x20 \
--name faces[/bold]

Import a text without its column of labels:  [bold]dreg data import train.csv --labels label --name mine[/bold]

Import a folder of photographs:  [bold]dreg data import ~/photos --resize 28x28 --channels keep --name photos[/bold]

Import images with rows and columns swapped:  \
[bold]dreg data import emnist-images.gz --transpose-images --name emnist[/bold]

Import black ink on white paper:  \
[bold]dreg data import scans.zip --invert --valid 500 --test 1000 --name scans[/bold]"""


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="File to import: .npy, .npz, .h5, .mat, IDX (also .gz), .amat or .csv (text of numbers, separated "
            "by spaces, tabs, commas or semicolons); or a folder or zip of images.",
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="Name of the new data set, for use with --dataset NAME.")],
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Array of the file to use. Give SPLIT=KEY several times to name the train, valid and test arrays.",
            show_default="found by name",
        ),
    ] = None,
    kind: Annotated[
        DataKind | None, typer.Option(help="Kind of the values.", show_default="found from the values")
    ] = None,
    levels: Annotated[int, typer.Option(help="The whole number that means full intensity.")] = 255,
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Shape of an example that is stored as one row; with colours CxHxW or HxWxC, in the stored order.",
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMNS",
            help="Text only: columns with values, by name, by number from 1, or by range such as 2-785.",
            show_default="all except labels and row numbers",
        ),
    ] = None,
    drop_columns: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMNS", help="Text only: columns to leave out, named as in --columns."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMNS", help="Text only: columns of labels to leave out, named as in --columns."),
    ] = None,
    resize: Annotated[str | None, typer.Option(metavar="HxW", help="Resize images to this size.")] = None,
    transpose: Annotated[
        bool,
        typer.Option("--transpose", help="Take the last axis as the examples; see also --transpose-images."),
    ] = False,
    transpose_images: Annotated[
        bool,
        typer.Option("--transpose-images", help="Swap rows and columns of each image, as EMNIST needs."),
    ] = False,
    flip: Annotated[
        list[Flip] | None,
        typer.Option(help="Mirror each image, after --transpose-images: swap left and right, or top and bottom."),
    ] = None,
    channels: Annotated[
        Channels | None,
        typer.Option(help="Keep colours, or turn them to grey.", show_default="grey; required for arrays"),
    ] = None,
    invert: Annotated[
        bool, typer.Option("--invert", help="Swap black and white, for black on white images.")
    ] = False,
    valid: Annotated[
        str | None,
        typer.Option(metavar="N|FRACTION", help="Validation examples, if the file has none.", show_default="0.1"),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(metavar="N|FRACTION", help="Test examples, if the file has none.", show_default="0.1"),
    ] = None,
    split_seed: Annotated[
        int | None,
        typer.Option(
            metavar="SEED",
            help="Random seed for choosing these examples; independent of a run's seed.",
            show_default="0",
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace imported data with the same name.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Import your own data: check it, split it, and keep it together with its origin."""
    from dregcli.app.datasets.import_ import ColumnWords, ImportWords, import_dataset

    folder = data_folder(data_dir)
    words = ImportWords(
        source=source,
        name=name,
        keys=tuple(key or ()),
        kind=kind,
        levels=levels,
        shape=shape,
        resize=resize,
        transpose=transpose,
        transpose_images=transpose_images,
        flips=tuple(flip or ()),
        channels=channels,
        invert=invert,
        valid=valid,
        test=test,
        seed=split_seed,
        replace=replace,
        columns=ColumnWords(tuple(columns or ()), tuple(drop_columns or ()), tuple(labels or ())),
    )
    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        imported = import_dataset(words, folder, terminal)
    dataset = imported.dataset
    for warning in imported.warnings:
        terminal.warn(warning)
    if as_json:
        terminal.result(
            {
                **dataset_json(imported),
                "format": imported.format,
                "path": str(imported.path),
                "left_out": [each.as_json() for each in imported.left_out],
                "figure": str(imported.figure) if imported.figure else None,
                "notes": list(imported.notes),
                "warnings": list(imported.warnings),
            }
        )
        return
    terminal.table(
        ["data set", "kind", "image", *Split, "splits", "checksum", "where"],
        [
            [
                dataset.name,
                dataset.kind.value,
                image_in_words(dataset.image),
                *(f"{len(dataset.splits[split]):,}" for split in Split),
                dataset.split_convention,
                dataset.checksum[:8],
                str(imported.path),
            ]
        ],
    )
    for note in imported.notes:
        terminal.note(note)
    if imported.figure:
        terminal.line(f"figure: {imported.figure}")
        preview(terminal, imported, Split.TRAIN)
    terminal.line(f"next: {training_command(dataset.name, folder, examples=len(dataset.splits[Split.TRAIN]))}")
