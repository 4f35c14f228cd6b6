"""Sections of a report: runs whose numbers belong beside each other."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dregcli.report.comparison import Comparison, compare, labels
from dregcli.report.groups import Group
from dregcli.report.sparklines import sparklines

_DIVIDES: Final = (
    "dataset",
    "data_checksum",
    "split_convention",
    "binarisation",
    "task",
    "model",
    "likelihood",
    "parent",
)
"""Settings of a spec that divide runs into sections: the data, the pixels, the task, the model, and the parent of
runs that train the encoder alone."""


@dataclass(frozen=True)
class ReportSection:
    """Groups of runs with the same data, pixels, task and model.

    Attributes:
        title: what the runs have in common, such as ``mnist, structured``.
        groups: the groups, in the order in which they first appear.
        labels: a short name of each group, by its key; all of a section are different.
        comparisons: comparisons of the groups, the most informative first.
        legend: sentences that explain the labels; a renderer shows them beside the section's first table or figure.
    """

    title: str
    groups: tuple[Group, ...]
    labels: Mapping[str, str]
    comparisons: tuple[Comparison, ...]
    legend: tuple[str, ...] = ()

    def sparklines(self) -> dict[str, str]:
        """Return the validation bound of each group during its training as one line of text."""
        return sparklines(self.groups)


def sections_of(groups: Sequence[Group]) -> list[ReportSection]:
    """Divide groups into sections, in the order in which their first groups appear."""
    found: dict[Hashable, list[Group]] = {}
    for group in groups:
        found.setdefault(repr([group.experiment.get(name) for name in _DIVIDES]), []).append(group)
    return [
        ReportSection(_title(members[0].experiment), tuple(members), labels(members), tuple(compare(members)))
        for members in found.values()
    ]


def _title(experiment: Mapping[str, Any]) -> str:
    """Return the data set, and the task if it is not the usual one."""
    task = experiment.get("task", "generative")
    return ", ".join([str(experiment["dataset"]), *([] if task == "generative" else [str(task)])])
