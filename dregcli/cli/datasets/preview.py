"""The first examples of a data set as pictures, on a terminal that is wide enough and has colours."""

from typing import TYPE_CHECKING, Final

from dregcli.cli.half_blocks import half_blocks
from dregcli.cli.render import Terminal
from dregcli.names import Split

if TYPE_CHECKING:
    from dregcli.app.datasets.import_ import Imported
    from dregcli.app.datasets.show import Shown

_NARROWEST: Final = 40


def preview(terminal: Terminal, result: "Imported | Shown", split: Split) -> None:
    """Show the first examples of a split; show nothing if the terminal cannot show pictures."""
    if terminal.picture_width < _NARROWEST:
        return
    from dregcli.app.planning.first_examples import first_examples, for_terminal

    terminal.show(half_blocks(for_terminal(first_examples(result.dataset, split), terminal.picture_width).tolist()))
