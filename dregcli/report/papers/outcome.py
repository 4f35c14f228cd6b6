"""What an experiment gave: lines of points, and published numbers beside them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dregcli.columns import at_floor
from dregcli.report.aggregate import Aggregate
from dregcli.report.paired import Paired
from dregcli.report.series import Band


@dataclass(frozen=True)
class Point:
    """One number of a line: its x, or None at the end of training; and the mean over seeds."""

    x: float | None
    y: Aggregate


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        label: what tells it from other lines.
        points: its points, ascending in x.
        band: its course along training, if x is the step.
    """

    label: str
    points: tuple[Point, ...]
    band: Band | None = None


@dataclass(frozen=True)
class Mark:
    """A published number in a panel: label of its line, x (None means the right end) and y."""

    label: str
    x: float | None
    y: float


@dataclass(frozen=True)
class Drawing:
    """One panel, with its lines.

    Attributes:
        title: title of the panel.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        along: whether the lines go along training.
        is_log: whether the vertical axis is logarithmic.
        lines: the lines.
        marks: published numbers.
        floor: the value of pure noise; None if there is none.
        is_excess: whether a value is drawn only if it is at least two standard errors above 0.
        pairs: differences of two lines at the end of training, seed by seed, the better line first; nats per example.
    """

    title: str
    x: str
    y: str
    along: bool
    is_log: bool
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    floor: float | None = None
    is_excess: bool = False
    pairs: tuple[Paired, ...] = ()

    def is_noise(self, point: Point) -> bool:
        """Return whether pure noise could have this point's value, too."""
        return at_floor(point.y.mean, self.floor)


@dataclass(frozen=True)
class Compared:
    """A published number and ours.

    Attributes:
        label: what it is of, such as ``iwae/reparam K=50``.
        quantity: name of the quantity.
        published: the published number as plain values: ``value``, ``error``, ``read``, ``source`` and ``what``.
        ours: our mean over seeds; None if there is no run yet.
        shorter: in what our run is shorter than the paper's, in words; empty if it is not.
    """

    label: str
    quantity: str
    published: Mapping[str, Any]
    ours: Aggregate | None
    shorter: str = ""

    @property
    def difference(self) -> float | None:
        """Ours minus the published number; None if there is no run yet."""
        return None if self.ours is None else self.ours.mean - self.published["value"]

    @property
    def stderr(self) -> float | None:
        """The standard error of the difference: ours over seeds, and the published error if it is known.

        None if ours is not known, because there is a single seed.
        """
        if self.ours is None or self.ours.stderr is None:
            return None
        return math.hypot(self.ours.stderr, self.published["error"] or 0.0)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        ours = None if self.ours is None else {"value": self.ours.mean, "stderr": self.ours.stderr, "n": self.ours.n}
        return {
            "label": self.label,
            "quantity": self.quantity,
            "published": dict(self.published),
            "ours": ours,
            "difference": self.difference,
            "difference_stderr": self.stderr,
            "shorter": self.shorter,
        }


def lines_as_json(drawings: Sequence[Drawing]) -> list[dict[str, Any]]:
    """Return the points of all panels as plain values; of lines along training the numbers at their ends."""
    return [
        {
            "panel": drawing.title,
            "x": drawing.x,
            "y": drawing.y,
            "floor": drawing.floor,
            "lines": [
                {
                    "label": line.label,
                    "points": [
                        {"x": each.x, "value": each.y.mean, "stderr": each.y.stderr, "n": each.y.n}
                        for each in line.points
                    ],
                }
                for line in drawing.lines
            ],
            "differences": [
                {
                    "higher": each.a,
                    "lower": each.b,
                    "value": each.difference,
                    "stderr": each.stderr,
                    "interval": each.interval,
                    "seeds": each.seeds,
                    "verdict": each.verdict,
                }
                for each in drawing.pairs
            ],
        }
        for drawing in drawings
    ]
