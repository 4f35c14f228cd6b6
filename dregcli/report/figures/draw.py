"""Draw all figures that have data."""

from collections.abc import Mapping, Sequence

from dregcli.names import Network
from dregcli.report.comparison import Comparison
from dregcli.report.drawn import Drawn
from dregcli.report.figures.active import VariancesOf, active_figure
from dregcli.report.figures.bounds import bound_figure
from dregcli.report.figures.final import final_figure
from dregcli.report.figures.gap import gap_figure
from dregcli.report.figures.k_curve import k_curve_figure
from dregcli.report.figures.layers import layers_figure
from dregcli.report.figures.members import choose
from dregcli.report.figures.of_runs import bias_figures, variance_figures
from dregcli.report.figures.pictures import PictureOf, picture_figures
from dregcli.report.figures.setting import setting_figures
from dregcli.report.figures.sheet import Sheet
from dregcli.report.figures.tracked import tracked_figure
from dregcli.report.groups import Group


def draw_all(
    groups: Sequence[Group],
    labels: Mapping[str, str],
    comparisons: Sequence[Comparison],
    *,
    sheet: Sheet = Sheet(),  # noqa: B008 - it cannot change
    variances: VariancesOf = lambda _, __: None,
    picture: PictureOf = lambda _, __: None,
) -> list[Drawn]:
    """Draw the figures of a report; a kind of figure without data is left out.

    Args:
        groups: groups of runs. If there are too many to distinguish, the best are drawn, and the titles say so;
            figures by a setting draw all.
        labels: short name of each group, by key.
        comparisons: comparisons as ``compare`` returns them.
        sheet: the paper that the figures are drawn for.
        variances: returns the variances of latents that an evaluation of a run has kept; called only for runs that
            are drawn.
        picture: returns a run's newest picture of a kind, if it has one; called only where it may be drawn.

    Returns:
        Figures with unique names, in the order in which a page shows them.
    """
    chosen = choose(groups, labels, comparisons, sheet)
    drawn = [
        final_figure(chosen, comparisons),
        bound_figure(chosen, "step"),
        bound_figure(chosen, "seconds"),
        gap_figure(chosen),
        *setting_figures(groups, labels, sheet),
        k_curve_figure(chosen),
        active_figure(chosen, variances),
        layers_figure(chosen),
        tracked_figure(chosen, Network.ENCODER),
        tracked_figure(chosen, Network.DECODER),
        *variance_figures(chosen),
        *bias_figures(chosen),
        *picture_figures(chosen, "samples", picture),
        *picture_figures(chosen, "reconstructions", picture),
        *picture_figures(chosen, "reconstructions-layers", picture),
    ]
    return [each for each in drawn if each is not None]
