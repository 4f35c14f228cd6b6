"""What the file of a published experiment holds."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, field_validator

from dregcli.errors import UsageError
from dregcli.names import Split
from dregcli.specs.config import by_field
from dregcli.specs.execution import STRICT, Positive
from dregcli.specs.number_lists import MOST_SAMPLES, parse_seeds

Words = Annotated[str, Field(min_length=1)]
Samples = Annotated[int, Field(ge=1, le=MOST_SAMPLES)]

STEP: Final = "step"
"""The word for ``x`` of a panel along training."""


class Evaluation(BaseModel, frozen=True):
    """The evaluation of each run after its training.

    Attributes:
        split: the split.
        k: samples per example.
        n: number of examples from the start of the split; None means all.
    """

    model_config = STRICT

    split: Annotated[Split, Field(strict=False)] = Split.TEST
    k: Samples
    n: Positive | None = None


class _Seeded(BaseModel, frozen=True):
    model_config = STRICT

    seeds: str = "0"

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, text: str) -> str:
        if faults := parse_seeds(text)[1]:
            raise ValueError(faults[0].message)
        return text

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds."""
        return parse_seeds(self.seeds)[0]


class Training(_Seeded, frozen=True):
    """An experiment that trains models: a study.

    Attributes:
        kind: the word for this kind of experiment.
        seeds: the seeds of every run, such as ``0-4``.
        options: options that all runs share, as in a file for ``dreg train --config``.
        runs: tables of options as in a file for ``dreg train --sweep``; a value may be a list of values.
        evaluation: the evaluation of each run; None for no more than the bounds of the training.
    """

    kind: Literal["training"]
    options: dict[str, Any] = {}
    runs: list[dict[str, Any]] = Field(min_length=1)
    evaluation: Evaluation | None = None

    @field_validator("options", mode="after")
    @classmethod
    def _spell(cls, options: dict[str, Any]) -> dict[str, Any]:
        return _spelt(options)

    @field_validator("runs", mode="after")
    @classmethod
    def _spell_all(cls, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [_spelt(each) for each in runs]


def _spelt(options: dict[str, Any]) -> dict[str, Any]:
    try:
        return by_field(options, where="")
    except UsageError as error:
        raise ValueError(error.what) from None


class ToyGradients(_Seeded, frozen=True):
    """An experiment that measures gradients on the Gaussian toy of arXiv 1802.04537, as ``dreg variance --toy`` does.

    Attributes:
        kind: the word for this kind of experiment.
        seeds: each seed is another toy problem with other noise.
        k: numbers of samples.
        pairs: pairs of objective and estimator.
        replicates: independent gradients at each K.
    """

    kind: Literal["toy-gradients"]
    k: list[Samples] = Field(min_length=2)
    pairs: list[Words] = Field(min_length=1)
    replicates: Positive

    @field_validator("k")
    @classmethod
    def _check_ascending(cls, ks: list[int]) -> list[int]:
        if ks != sorted(set(ks)):
            message = f"must ascend, got {ks}."
            raise ValueError(message)
        return ks


Experiment = Annotated[Training | ToyGradients, Field(discriminator="kind")]

KINDS: Final = ("training", "toy-gradients")


class Scale(BaseModel, frozen=True):
    """What a shorter version of the experiment must keep.

    Attributes:
        k_multiple: K stays a multiple of it, such as a number of groups.
        least_seeds: the fewest seeds.
    """

    model_config = STRICT

    k_multiple: Positive = 1
    least_seeds: Positive = 1


class Panel(BaseModel, frozen=True):
    """One panel of the figure.

    Attributes:
        y: the quantity; each kind of experiment has its own.
        x: ``step``, along training; or a setting with numbers, such as ``k``, in which the lines' points differ.
        network: encoder or decoder, for quantities of gradients.
        title: title of the panel; None means the name of the quantity.
    """

    model_config = STRICT

    y: Words
    x: Words = STEP
    network: Literal["encoder", "decoder"] = "encoder"
    title: str | None = None


class Published(BaseModel, frozen=True):
    """One published number.

    Attributes:
        y: the quantity, in the words of a panel.
        at: settings of the run that it belongs to, with the value of ``x`` among them; for a slope, ``k`` is the
            smallest K that it is fitted to.
        value: the number; a log-likelihood in nats per example is negative, as dreg has it.
        error: its error as published, or the error of reading it; None if neither is known.
        of: value; or slope, the power of K that the quantity follows.
        network: encoder or decoder, for quantities of gradients.
        read: where the number was read: in a table or a text, by eye in a picture, or it is a theorem.
        source: the work, and the table, figure or file.
        what: what the number really is: split, samples, pixels, and what differs from our runs.
    """

    model_config = STRICT

    y: Words
    at: dict[str, bool | int | float | str | list[int]]
    value: float
    error: float | None = Field(default=None, gt=0)
    of: Literal["value", "slope"] = "value"
    network: Literal["encoder", "decoder"] = "encoder"
    read: Literal["table", "text", "eye", "theory"]
    source: Words
    what: Words


class Paper(BaseModel, frozen=True):
    """A published experiment.

    Attributes:
        title: what is shown, in a few words.
        authors: the authors and the year.
        arxiv: number at arxiv.org; None if it has none.
        place: the equation, figure or table.
        what: one sentence about the experiment.
        ours: one sentence for each thing in which our runs differ from the paper's; empty if there is none known.
        shorter: how much of the paper's length the runs of this file have, such as ``40 of 3,280 epochs``; None: all.
        experiment: what is run.
        scale: what shorter versions keep.
        figure: the panels of the figure.
        published: the published numbers; empty if the paper gives curves only.
    """

    model_config = STRICT

    title: Words
    authors: Words
    arxiv: str | None = Field(default=None, pattern=r"^[0-9]{4}\.[0-9]{4,5}$")
    place: Words
    what: Words
    ours: list[Words] = []
    shorter: Words | None = None
    experiment: Experiment
    scale: Scale = Scale()
    figure: list[Panel] = Field(min_length=1)
    published: list[Published] = []

    @property
    def reference(self) -> str:
        """Authors and arXiv number."""
        return f"{self.authors}, arXiv {self.arxiv}" if self.arxiv else self.authors
