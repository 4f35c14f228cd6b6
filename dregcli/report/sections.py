"""Sections of a report: runs whose numbers belong beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from dregcli.names import Task
from dregcli.report.comparison import Comparison, compare
from dregcli.report.groups import Group
from dregcli.report.labels import Rename, labels
from dregcli.report.settings import value_in_words
from dregcli.report.sparklines import sparklines


class _Common(NamedTuple):
    """What all runs of a section share: the data, the pixels, the task, the model, and the parent.

    The parent is the SHA-256 of the model that runs with a new encoder keep; None for other runs.
    """

    dataset: object
    task: object
    split_convention: object
    data_checksum: object
    binarisation: object
    likelihood: object
    model: object
    parent: object

    @classmethod
    def of(cls, group: Group) -> "_Common":
        settings = group.experiment
        shared = {name: settings.get(name) for name in cls._fields}
        task = str(shared["task"] or Task.GENERATIVE)
        return cls(**shared | {"task": task, "parent": _parent(group).get("model_sha256")})


_WORDS: Final = {
    "split_convention": "{} split",
    "binarisation": "{} binarisation",
    "model": "{}",  # before the likelihood, which a class of the user's own does not name
    "likelihood": "{} likelihood",
    "data_checksum": "data {}",
}
"""Further words of a title by setting, in the order in which they are tried."""


@dataclass(frozen=True)
class ReportSection:
    """Groups of runs with the same data, pixels, task and model, and the same parent if they trained q alone.

    Attributes:
        title: what the runs have in common, such as ``mnist, structured``; all titles of a report are different.
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


def sections_of(groups: Sequence[Group], renames: Sequence[Rename] = ()) -> list[ReportSection]:
    """Divide groups into sections, in the order in which their first groups appear.

    The sections of runs with a parent follow the section of the parent's data, task and model.

    Args:
        groups: all groups of a report.
        renames: names that the user gave to groups, the most important first.
    """
    found: dict[_Common, list[Group]] = {}
    for group in groups:
        found.setdefault(_Common.of(group), []).append(group)
    first = {common._replace(parent=None): i for i, common in reversed([*enumerate(found)])}
    ordered = sorted(found, key=lambda common: (first[common._replace(parent=None)], common.parent is not None))
    titles = _titles({common: found[common][0] for common in ordered})
    return [_section(titles[common], found[common], renames) for common in ordered]


def _section(title: str, groups: Sequence[Group], renames: Sequence[Rename]) -> ReportSection:
    named = labels(groups, renames)
    return ReportSection(title, tuple(groups), named.by_key, tuple(compare(groups)), named.legend)


def _titles(firsts: Mapping[_Common, Group]) -> dict[_Common, str]:
    """Return the titles: the data set, the task if it is not the usual one, and what else keeps titles apart."""
    words = {common: _first_words(common, group) for common, group in firsts.items()}
    for name, form in _WORDS.items():
        for alike in _alike(words):
            if len({getattr(common, name) for common in alike}) > 1:
                for common in alike:
                    word = value_in_words(name, getattr(common, name))
                    words[common].append(form.format("no" if word == "none" else word))
    for alike in _alike(words):  # the same parent at several checkpoints
        for common in alike:
            words[common].append(f"step {_parent(firsts[common]).get('checkpoint')}")
    for alike in _alike(words):  # checkpoints with equal names in other stores
        for common in alike:
            words[common].append(f"model {str(common.parent)[:8]}")
    return {common: ", ".join(of) for common, of in words.items()}


def _first_words(common: _Common, first: Group) -> list[str]:
    task = [] if common.task == Task.GENERATIVE else [str(common.task)]
    origin = [f"encoder of {_parent(first).get('run')} retrained"] if common.parent else []
    return [str(common.dataset), *task, *origin]


def _parent(group: Group) -> Mapping[str, Any]:
    return group.experiment.get("parent") or {}


def _alike(words: Mapping[_Common, Sequence[str]]) -> list[list[_Common]]:
    """Return the sections that have one title in common, for each such title."""
    found: dict[tuple[str, ...], list[_Common]] = {}
    for common, of in words.items():
        found.setdefault(tuple(of), []).append(common)
    return [alike for alike in found.values() if len(alike) > 1]
