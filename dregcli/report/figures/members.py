"""Choose the groups to draw, their look in every figure, and the groups that share a panel."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.describe import bound_k, described
from dregcli.report.comparison import Comparison
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
    """The groups that are drawn.

    Attributes:
        members: at most ``MOST`` groups.
        part: which of how many groups are drawn, for titles; empty if all are.
    """

    members: Sequence[Member]
    part: str

    def titled(self, what: str) -> str:
        """Return a figure's title."""
        return f"{what} ({self.part})" if self.part else what


def choose(groups: Sequence[Group], labels: Mapping[str, str], comparisons: Sequence[Comparison]) -> Chosen:
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
    return Chosen([Member(each, labels[each.key], look(i), i) for i, each in enumerate(kept)], part)


@dataclass(frozen=True)
class Panel:
    """Groups whose bounds have the same data and pixels.

    Attributes:
        title: the data and pixels.
        members: the groups.
    """

    title: str
    members: Sequence[Member]

    @property
    def own_k(self) -> str:
        """The K of the groups' bounds, in words."""
        ks = {bound_k(member.group.spec) for member in self.members}
        return f"K={ks.pop():,}" if len(ks) == 1 else "each group's own K"


def panels_by_data(members: Sequence[Member]) -> tuple[list[Panel], str]:
    """Sort members into panels by the data and pixels of their bounds, because other bounds cannot share an axis.

    Returns:
        At most ``MOST_PANELS`` panels, those with the most groups, and a sentence if some are left out, or "".
    """
    found: dict[tuple[str, ...], list[Member]] = {}
    for member in members:
        spec = member.group.spec
        found.setdefault((described(spec), str(spec["data_checksum"])), []).append(member)
    kept = sorted(found, key=lambda key: -len(found[key]))[:MOST_PANELS]
    few = f" Shown are {MOST_PANELS} of {len(found)} kinds of data." if len(found) > MOST_PANELS else ""
    return [Panel(key[0], found[key]) for key in kept], few
