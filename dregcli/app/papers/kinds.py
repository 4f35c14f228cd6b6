"""The kinds of experiments, by the word that a file has for them. A new kind is one entry here."""

from collections.abc import Mapping
from typing import Final

from dregcli.app.papers.kind import Kind
from dregcli.app.papers.toy import ToyExperiments
from dregcli.app.papers.training import Trainings
from dregcli.specs.papers.document import Paper

KINDS: Final[Mapping[str, Kind]] = {"training": Trainings(), "toy-gradients": ToyExperiments()}


def kind_of(paper: Paper) -> Kind:
    """Return the kind of an experiment."""
    return KINDS[paper.experiment.kind]
