"""Which groups are drawn, how each looks in every figure, and which of them share a panel."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.describe import described
from dregcli.report.comparison import Comparison
from dregcli.report.figures.style import MARKERS, POINTS, Look, look
from dregcli.report.groups import Group, RunRow
from dregcli.report.series import Band, Series, band

MOST: Final = len(MARKERS)
"""Groups in a figure: more of them nobody tells apart."""

MOST_PANELS: Final = 3

MOST_OF_RUNS: Final = 4
"""Groups of which there is a figure, or a column of one, each."""


@dataclass(frozen=True)
class Member:
    """One group that is drawn.

    Attributes:
        group: whose runs.
        label: its short name.
        look: the same in all figures.
        index: which of the members it is.
    """

    group: Group
    label: str
    look: Look
    index: int

    def band(self, of: Callable[[RunRow], Series | None], *, points: int = POINTS) -> Band | None:
        """Of a curve of each run, over the seeds that have one."""
        curves = [found for row in self.group.seeds() if (found := of(row)) is not None]
        return band(curves, points=points)

    def told(self, seeds: int, *, lacking: str = "no band") -> str:
        """Its label, of how many seeds a curve is, and what one of a single seed lacks."""
        every = max(seeds, len(self.group.seeds()))
        of = f"{seeds} of {every}" if seeds < every else f"{seeds}"
        none = f", {lacking}" if seeds == 1 and lacking else ""
        return f"{self.label} ({of} seed{'s' if every > 1 else ''}{none})"


@dataclass(frozen=True)
class Chosen:
    """The groups that are drawn.

    Attributes:
        members: at most ``MOST``.
        told: how many of how many, for titles; empty where all are.
    """

    members: Sequence[Member]
    told: str

    def titled(self, what: str) -> str:
        """A figure's title."""
        return f"{what} ({self.told})" if self.told else what


def choose(groups: Sequence[Group], labels: Mapping[str, str], comparisons: Sequence[Comparison]) -> Chosen:
    """The groups of the highest means by the first comparison, where there are more than can be told apart.

    Those that it does not compare come after those that it does. What is drawn keeps its order.
    """
    if len(groups) <= MOST:
        kept, told = list(groups), ""
    else:
        first = comparisons[0] if comparisons else None
        means = {key: first.of(key).mean for key in first.values} if first else {}
        order = sorted(range(len(groups)), key=lambda i: -means.get(groups[i].key, float("-inf")))
        kept = [groups[i] for i in sorted(order[:MOST])]
        which = f"the {'highest' if first else 'first'} {MOST}"
        told = f"{which} of {len(groups)} groups" + (f", by {first.measure.told}" if first else "")
    return Chosen([Member(each, labels[each.key], look(i), i) for i, each in enumerate(kept)], told)


@dataclass(frozen=True)
class Panel:
    """Groups whose bounds are of the same data and pixels.

    Attributes:
        title: of what.
        members: of the figure.
    """

    title: str
    members: Sequence[Member]

    @property
    def own_k(self) -> str:
        """At what K their bounds of training are, in words."""
        ks = {member.group.spec["k"] for member in self.members}
        return f"K={ks.pop():,}" if len(ks) == 1 else "each group's own K"


def panels_by_data(members: Sequence[Member]) -> tuple[list[Panel], str]:
    """Members by the data and pixels that their bounds are of: other ones have no axis in common.

    Returns:
        At most ``MOST_PANELS``, those of most groups, and a sentence on those left out, or nothing.
    """
    found: dict[tuple[str, ...], list[Member]] = {}
    for member in members:
        spec = member.group.spec
        found.setdefault((described(spec), str(spec["data_checksum"])), []).append(member)
    kept = sorted(found, key=lambda key: -len(found[key]))[:MOST_PANELS]
    few = f" Shown are {MOST_PANELS} of {len(found)} kinds of data." if len(found) > MOST_PANELS else ""
    return [Panel(key[0], found[key]) for key in kept], few
