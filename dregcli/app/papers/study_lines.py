"""The lines of a figure, and the numbers beside published ones, from trained runs."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from dregcli.app.papers.kind import Asked
from dregcli.app.papers.scaling import shorter_in_words
from dregcli.app.papers.studies import Member, number_of
from dregcli.names import Split
from dregcli.report.aggregate import number
from dregcli.report.comparison import Measure, measures_of
from dregcli.report.figures.style import POINTS
from dregcli.report.paired import Paired, all_pairs, judged_together
from dregcli.report.papers.outcome import Compared, Drawing, Line, Mark, Point
from dregcli.report.papers.quantities import QUANTITIES
from dregcli.report.series import band
from dregcli.report.settings import setting_name
from dregcli.specs.papers.document import STEP, Panel, Published


def drawing_of(
    panel: Panel,
    members: Sequence[Member],
    published: Sequence[tuple[Published, Member]],
) -> Drawing:
    """Return a panel with the lines of all runs, and its published numbers.

    Args:
        panel: the panel.
        members: the runs, at least one.
        published: published numbers at the settings of the paper, each with the runs that it belongs to.
    """
    quantity = QUANTITIES[panel.y]
    is_along = panel.x == STEP
    by_label: dict[str, list[Member]] = {}
    for each in members:
        by_label.setdefault(each.label(panel.x), []).append(each)
    lines = [_line(label, of_one, panel) for label, of_one in by_label.items()]
    # A shorter version has smaller K; a published number stays at the paper's.
    marks = [
        Mark(member.label(panel.x), None if is_along else _x_of(each, member, panel.x), each.value)
        for each, member in published
        if (each.y, each.network) == (panel.y, panel.network)
    ]
    floors = [floor for each in members if each.group and (floor := quantity.floor(each.group, panel.network))]
    return Drawing(
        panel.title or quantity.called(panel.network, members[0].wanted),
        "optimisation steps" if is_along else setting_name(panel.x),
        quantity.unit,
        is_along,
        quantity.is_log,
        tuple(each for each in lines if each.points or each.band),
        tuple(marks),
        max(floors, default=None),
        pairs=_pairs(by_label, quantity.split) if is_along and quantity.split else (),
    )


def _pairs(by_label: Mapping[str, Sequence[Member]], split: Split) -> tuple[Paired, ...]:
    """Return the differences of final bounds between lines that share seeds, the higher line first.

    Only bounds of one measure are compared: not those at another K or of other pixels.
    """
    found: dict[Measure, dict[str, dict[int, float]]] = {}
    for label, members in by_label.items():
        for row in (row for each in members if each.group for row in each.group.seeds()):
            for measure, bound in measures_of(row).items():
                if (measure.kind, measure.split) == ("final", split):
                    found.setdefault(measure, {}).setdefault(label, {})[row.seed] = bound
    pairs: list[Paired] = []
    for values in found.values():
        order = sorted(values, key=lambda label, values=values: -fmean(values[label].values()))
        pairs += [each for each in all_pairs({label: values[label] for label in order}) if each.seeds]
    return tuple(judged_together(pairs))


def _line(label: str, members: Sequence[Member], panel: Panel) -> Line:
    quantity = QUANTITIES[panel.y]
    is_along = panel.x == STEP
    points: list[Point] = []
    course = None
    for each in members:
        if each.group is None:
            continue
        if is_along and quantity.along is not None:
            curves = [found for row in each.group.seeds() if (found := quantity.along(row, panel.network))]
            course = band(curves, points=POINTS)
        x = None if is_along else number_of(each.spec, panel.x)
        value = quantity.at_end(each.group, panel.network, each.wanted)
        if value is not None and (is_along or x is not None):
            points.append(Point(x, value))
    points.sort(key=lambda each: each.x or 0.0)
    return Line(label, tuple(points), course)


def _x_of(published: Published, member: Member, name: str) -> float | None:
    """Return the x of a published number: the one that it names, or that of the runs."""
    named = number(published.at.get(name))
    return number_of(member.spec, name) if named is None else named


def compared(asked: Asked, published: Published, member: Member) -> Compared:
    """Return a published number and ours.

    Args:
        asked: the experiment.
        published: the published number, as the file has it.
        member: the runs that it belongs to.
    """
    quantity = QUANTITIES[published.y]
    ours = quantity.at_end(member.group, published.network, member.wanted) if member.group else None
    plain = published.model_dump(mode="json", include={"value", "error", "read", "source", "what", "at", "of"})
    k = published.at.get("k", member.spec.k)
    label = member.label() if k == member.spec.k else f"{member.label()} (K={k} in the paper)"
    name = quantity.called(published.network, member.wanted)
    return Compared(label, name, plain, ours, shorter_in_words(asked.scaled))
