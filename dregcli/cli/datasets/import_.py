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

EXAMPLES = """An array, a tenth each for validation and testing drawn by seed:  \
[bold]dreg data import images.npy --name mine[/bold]

Splits that the file has:  [bold]dreg data import faces.mat --key train=trainX --key test=testX --shape 28x20 \
--name faces[/bold]

A text whose first column holds labels:  [bold]dreg data import train.csv --labels label --name mine[/bold]

A folder of photographs:  [bold]dreg data import ~/photos --resize 28x28 --channels keep --name photos[/bold]

Images that lie on their side:  [bold]dreg data import emnist-images.gz --transpose-images --name emnist[/bold]

Black ink on white paper:  [bold]dreg data import scans.zip --invert --valid 500 --test 1000 --name scans[/bold]"""


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=".npy, .npz, .h5, .mat, IDX (.gz too), .amat or .csv (text of numbers, between them spaces, tabs, "
            "commas or semicolons), or a folder or zip of images.",
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="What to call it; then --dataset NAME works everywhere.")],
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Which array of the file; SPLIT=KEY, given several times, says which is train, valid and test.",
            show_default="by their names",
        ),
    ] = None,
    kind: Annotated[
        DataKind | None, typer.Option(help="What the values are.", show_default="found from the values")
    ] = None,
    levels: Annotated[int, typer.Option(help="The whole number that is full intensity.")] = 255,
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Rows and columns of an example that is stored as one row; with colours CxHxW or HxWxC, as it lies.",
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMNS",
            help="Text only: the columns that are values, by names, by numbers from 1, or by ranges such as 2-785.",
            show_default="all but labels and row numbers",
        ),
    ] = None,
    drop_columns: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMNS", help="Text only: columns to leave out, named likewise."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMNS", help="Text only: columns to leave out as labels, named likewise."),
    ] = None,
    resize: Annotated[str | None, typer.Option(metavar="HxW", help="Bring images to this size.")] = None,
    transpose: Annotated[
        bool, typer.Option("--transpose", help="The examples are the last axis; see also --transpose-images.")
    ] = False,
    transpose_images: Annotated[
        bool,
        typer.Option("--transpose-images", help="Turn each image: rows become columns, as EMNIST needs."),
    ] = False,
    flip: Annotated[
        list[Flip] | None,
        typer.Option(help="Mirror each image: left and right, or top and bottom; after --transpose-images."),
    ] = None,
    channels: Annotated[
        Channels | None,
        typer.Option(help="Keep colours, or turn them to grey.", show_default="grey; of arrays you must say it"),
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Black on white: black and white change places.")] = False,
    valid: Annotated[
        str | None,
        typer.Option(metavar="N|FRACTION", help="Validation examples, where the file has none.", show_default="0.1"),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(metavar="N|FRACTION", help="Test examples, where the file has none.", show_default="0.1"),
    ] = None,
    split_seed: Annotated[
        int | None, typer.Option(metavar="SEED", help="Draws them; never a run's seed.", show_default="0")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="In place of imported data of that name.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Import your own data: checked, split, and kept with where they came from."""
    from dregcli.app.datasets.import_ import ColumnWords, ImportWords, import_dataset

    terminal = Terminal(as_json=as_json, quiet=quiet)
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
    try:
        imported = import_dataset(words, folder, terminal)
    finally:
        terminal.close()
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
