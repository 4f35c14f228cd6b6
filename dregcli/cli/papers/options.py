"""Options that several commands of ``dreg paper`` share."""

from typing import Annotated

import typer

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of an experiment (dreg paper list), or a TOML file of your own.")
]
ScaleOption = Annotated[
    float,
    typer.Option(
        "--scale",
        metavar="SHARE",
        help="Share of the paper's steps, such as 0.05. Schedules and evaluations shorten with it; the numbers of "
        "seeds, of samples K and of validations shrink with its root.",
    ),
]
