"""The paper that a figure is drawn for: its width, the size of its letters, and whether it has a caption."""

from dataclasses import dataclass
from typing import Final

COLUMN_MM: Final = 85.0
"""Width of a column of a paper, millimetres."""

FULL_MM: Final = 170.0
"""Width of a page of a paper without its margins, millimetres."""

MM: Final = 25.4
"""Millimetres in an inch."""

_NARROW: Final = 5.0
"""Width in inches below which letters are smaller."""


@dataclass(frozen=True)
class Sheet:
    """How a figure is drawn.

    Attributes:
        width: width of the figure, inches.
        font: size of ordinary letters, points; None means that the width decides.
        caption: whether the figure has a title and the sentences that explain it.
        section: what the runs of the report's section have in common; titles begin with it. Empty if there is only
            one section.
    """

    width: float = FULL_MM / MM
    font: float | None = None
    caption: bool = True
    section: str = ""

    @property
    def points(self) -> float:
        """Size of ordinary letters, points."""
        return self.font or (8.0 if self.width < _NARROW else 9.0)

    @property
    def small(self) -> float:
        """Size of the letters of numbers at the axes, of legends and of captions, points."""
        return 0.88 * self.points

    @property
    def large(self) -> float:
        """Size of the title's letters, points."""
        return 1.15 * self.points

    @property
    def em(self) -> float:
        """Size of ordinary letters, inches."""
        return self.points / 72.0

    def titled(self, what: str) -> str:
        """Return a title that begins with the report's section."""
        return f"{self.section}: {what}" if self.section else what

    def columns(self, most: int, least: float) -> int:
        """Return how many panels fit side by side.

        Args:
            most: number of panels.
            least: width that a panel needs with its labels, in multiples of the letters' size.
        """
        return max(1, min(most, int(self.width / (least * self.em))))


PAGE: Final = Sheet(width=4.6, font=9.0, caption=False)
"""The figures of an HTML page: so narrow that a phone shows them with letters that can be read."""
