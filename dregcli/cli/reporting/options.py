"""Options of ``dreg report``: its files, and what its tables show."""

from pathlib import Path
from typing import Annotated

import typer

Csv = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write a table with one row per run; - means stdout."),
]
Latex = Annotated[
    Path | None,
    typer.Option(
        "--latex", metavar="FILE", help="Write a table of the groups for a paper (booktabs); - means stdout."
    ),
]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a page: one file with all figures, readable offline."),
]
Figures = Annotated[
    Path | None,
    typer.Option(
        "--figures",
        metavar="FOLDER",
        help="Write every figure as PNG, SVG and PDF, in place of earlier figures by dreg with the same names, and "
        "of no other file.",
    ),
]
Dpi = Annotated[
    int | None,
    typer.Option("--dpi", metavar="DOTS", help="Dots per inch of the PNG files of --figures.", show_default="160"),
]
WidthInches = Annotated[
    float | None,
    typer.Option(
        "--width-inches",
        metavar="INCHES",
        help="Width of the figures of --figures; a column of a paper has about 3.3.",
        show_default="6.7",
    ),
]
FontSize = Annotated[
    float | None,
    typer.Option(
        "--font-size",
        metavar="POINTS",
        help="Size of the letters in the figures of --figures.",
        show_default="9, or 8 below 5 inches",
    ),
]
NoCaption = Annotated[
    bool,
    typer.Option(
        "--no-caption", help="Leave the titles and the explaining sentences out of the figures of --figures."
    ),
]
Curves = Annotated[
    Path | None,
    typer.Option(
        "--curves",
        metavar="FILE",
        help="Write the learning curves as CSV, one row per logged step of each run and split; - means stdout, or "
        "with --json the JSON object.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="A,B,...",
        help="Show these columns of the groups, such as group,mean,k-hat,lr; with --csv, write these columns.",
        show_default="those that decide first",
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        "--sort",
        metavar="COLUMN",
        help="Sort the groups, and the rows of --csv, by this column.",
        show_default="the highest mean first",
    ),
]
Reverse = Annotated[bool, typer.Option("--reverse", help="With --sort: the largest first.")]
Width = Annotated[
    int | None,
    typer.Option(
        "--width",
        metavar="N",
        min=20,
        help="Width of the tables in characters.",
        show_default="the terminal's; in a pipe, as wide as they need",
    ),
]
Cite = Annotated[
    bool, typer.Option("--cite", help="Print BibTeX for the works that the runs use, instead of the tables.")
]

Label = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="PATTERN=NAME",
        help="Give a name, in all outputs, to the groups that fit a pattern such as 'iwae/*'. The pattern must fit "
        "the group's label, its objective/estimator, or the name of one of its runs. May be repeated: the first "
        "pattern that fits counts. The names in labels.toml of the store come last.",
    ),
]
