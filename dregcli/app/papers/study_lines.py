"""The lines of a figure, and the numbers beside published ones, from trained runs."""

import math
from collections.abc import Sequence
from typing import Any, Final

from dregcli.app.papers.kind import Asked
from dregcli.app.papers.scaling import shorter_in_words
from dregcli.app.papers.studies import Member
from dregcli.engine.words import parse_estimator, parse_scheduled
from dregcli.report.figures.style import POINTS
from dregcli.report.papers.outcome import Compared, Drawing, Line, Mark, Point
from dregcli.report.papers.quantities import QUANTITIES, Wanted
from dregcli.report.series import band
from dregcli.report.settings import setting_name, with_model_options
from dregcli.specs.papers.document import STEP, Panel, Published
from dregcli.specs.run import RunSpec

_WORDS: Final = {"objective": parse_scheduled, "estimator": parse_estimator}
"""Fields whose words have parameters, such as ``estimator.alpha``, which may be the x of a panel."""


def drawing_of(
    panel: Panel,
    members: Sequence[Member],
    published: Sequence[tuple[Published, Member]],
    wanted: Wanted | None,
) -> Drawing:
    """Return a panel with the lines of all runs, and its published numbers.

    Args:
        panel: the panel.
        members: the runs.
        published: published numbers, each with the runs that it belongs to.
        wanted: the evaluation that counts.
    """
    quantity = QUANTITIES[panel.y]
    is_along = panel.x == STEP
    by_label: dict[str, list[Member]] = {}
    for each in members:
        by_label.setdefault(each.label(panel.x), []).append(each)
    lines = [_line(label, of_one, panel, wanted) for label, of_one in by_label.items()]
    marks = [
        Mark(member.label(panel.x), None if is_along else _x(member.spec, panel.x), each.value)
        for each, member in published
        if (each.y, each.network) == (panel.y, panel.network)
    ]
    return Drawing(
        panel.title or quantity.name.format(panel.network),
        "optimisation steps" if is_along else setting_name(panel.x),
        quantity.unit,
        is_along,
        quantity.is_log,
        tuple(each for each in lines if each.points or each.band),
        tuple(marks),
    )


def _line(label: str, members: Sequence[Member], panel: Panel, wanted: Wanted | None) -> Line:
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
        x = None if is_along else _x(each.spec, panel.x)
        value = quantity.at_end(each.group, panel.network, wanted)
        if value is not None and (is_along or x is not None):
            points.append(Point(x, value))
    points.sort(key=lambda each: each.x or 0.0)
    return Line(label, tuple(points), course)


def _x(spec: RunSpec, name: str) -> float | None:
    """Return the number of a setting, or of a parameter of a word, such as ``estimator.alpha``."""
    field, _, parameter = name.partition(".")
    if field in _WORDS and parameter:
        part: Any = _WORDS[field](str(getattr(spec, field)))
        value: Any = getattr(getattr(part, "start", part), parameter, None)
    else:
        value = with_model_options(spec.model_dump(mode="json")).get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def compared(asked: Asked, published: Published, member: Member, wanted: Wanted | None) -> Compared:
    """Return a published number and ours.

    Args:
        asked: the experiment.
        published: the published number, as the file has it.
        member: the runs that it belongs to.
        wanted: the evaluation that counts.
    """
    quantity = QUANTITIES[published.y]
    ours = quantity.at_end(member.group, published.network, wanted) if member.group else None
    plain = published.model_dump(mode="json", include={"value", "error", "read", "source", "what", "at", "of"})
    return Compared(
        member.label(), quantity.name.format(published.network), plain, ours, shorter_in_words(asked.scaled)
    )
