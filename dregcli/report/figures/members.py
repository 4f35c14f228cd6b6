"""Choose the groups to draw, and their look in every figure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.describe import described
from dregcli.report.comparison import Comparison
from dregcli.report.figures.sheet import Sheet
from dregcli.report.figures.style import MARKERS, POINTS, Look, look
from dregcli.report.groups import Group, RunRow
from dregcli.report.series import Band, Series, band

MOST: Final = len(MARKERS)
"""Most groups in a figure; more could not be distinguished."""

MOST_PANELS: Final = 3

MOST_OF_RUNS: Final = 4
"""Most groups that get a figure, or a part of one, for a single run each."""


@dataclass(frozen=True)
class Member:
    """One group that is drawn.

    Attributes:
        group: the group.
        label: short name of the group.
        look: look of the group, the same in all figures.
        index: position among the members.
    """

    group: Group
    label: str
    look: Look
    index: int

    def band(self, of: Callable[[RunRow], Series | None], *, points: int = POINTS) -> Band | None:
        """Return the band of a curve over the seeds that have one."""
        curves = [found for row in self.group.seeds() if (found := of(row)) is not None]
        return band(curves, points=points)

    def with_seeds(self, seeds: int, *, lacking: str = "no band") -> str:
        """Return the label with a curve's number of seeds; for a single seed, ``lacking`` names what is missing."""
        every = max(seeds, len(self.group.seeds()))
        of = f"{seeds} of {every}" if seeds < every else f"{seeds}"
        none = f", {lacking}" if seeds == 1 and lacking else ""
        return f"{self.label} ({of} seed{'s' if every > 1 else ''}{none})"


@dataclass(frozen=True)
class Chosen:
    """The groups that are drawn, all with the same data and pixels.

    Attributes:
        members: at most ``MOST`` groups.
        part: which of how many groups are drawn, for titles; empty if all are.
        sheet: the paper that figures are drawn for.
    """

    members: Sequence[Member]
    part: str
    sheet: Sheet

    def titled(self, what: str) -> str:
        """Return a figure's title."""
        return self.sheet.titled(f"{what} ({self.part})" if self.part else what)


def choose(
    groups: Sequence[Group],
    labels: Mapping[str, str],
    comparisons: Sequence[Comparison],
    sheet: Sheet = Sheet(),  # noqa: B008 - it cannot change
) -> Chosen:
    """Choose all groups, or, if they are too many, those with the highest means in the first comparison.

    Groups outside the first comparison are chosen last. The chosen groups keep their order.
    """
    if len(groups) <= MOST:
        kept, part = list(groups), ""
    else:
        first = comparisons[0] if comparisons else None
        means = {key: first.of(key).mean for key in first.values} if first else {}
        order = sorted(range(len(groups)), key=lambda i: -means.get(groups[i].key, float("-inf")))
        kept = [groups[i] for i in sorted(order[:MOST])]
        which = f"the {'highest' if first else 'first'} {MOST}"
        part = f"{which} of {len(groups)} groups" + (f", by {first.measure.text}" if first else "")
    return Chosen([Member(each, labels[each.key], look(i), i) for i, each in enumerate(kept)], part, sheet)


def data_of(members: Sequence[Member]) -> str:
    """Return the data and pixels of the groups' bounds, in words."""
    return " and ".join(dict.fromkeys(described(member.group.spec) for member in members))


def k_in_words(ks: Iterable[int]) -> str:
    """Return the K of the groups' bounds, one for each group, in words."""
    found = set(ks)
    return f"K={found.pop():,}" if len(found) == 1 else "each group's own K"
