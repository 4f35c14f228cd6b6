"""All checks of a user's model in their order, the cheap ones first; each runs as far as it can."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from dregcli.engine.checks.finding import Finding, error
from dregcli.engine.checks.graphs import Ownership, check_graphs, ownership
from dregcli.engine.checks.independence import check_rows
from dregcli.engine.checks.numbers import check_checkpoints, check_finite, check_precision, check_repeats, listed
from dregcli.engine.checks.observation import check_likelihood, check_values
from dregcli.engine.checks.runs import Stopped
from dregcli.engine.checks.subject import Subject, first_runs, unchanged
from dregcli.engine.checks.supports import check_fixed, check_supports
from dregcli.engine.posteriors import Unfolded
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.programs.families import words_of
from dregcli.engine.programs.trial import SIZE, like_of, unsized
from dregcli.errors import DregError
from dregcli.names import Severity


@dataclass(frozen=True)
class LatentShape:
    """A latent.

    Attributes:
        name: its name.
        shape: shape of its values for one sample of one example.
        q: name of its posterior's family.
        p: name of its prior's family; None if it has none.
        has_path: whether its samples have a derivative by the posterior's parameters.
    """

    name: str
    shape: tuple[int, ...]
    q: str
    p: str | None
    has_path: bool


@dataclass(frozen=True)
class Checked:
    """What the checks found.

    Attributes:
        findings: all findings, errors first.
        parameters: which parameter belongs to what; None if the programs cannot be run.
        latents: the latents, in the order of drawing.
        likelihood: name of the family of p(x | z); None if there is none.
    """

    findings: list[Finding]
    parameters: Ownership | None
    latents: list[LatentShape]
    likelihood: str | None

    @property
    def errors(self) -> list[Finding]:
        """The faults with which the model cannot be trained."""
        return [each for each in self.findings if each.severity is Severity.ERROR]


def check_module(
    module: nn.Module,
    data: ModelData,
    pixels: Tensor,
    *,
    numbers: Sequence[int] | None = None,
    thorough: bool = True,
) -> Checked:
    """Check a model on a first batch, in the mode in which it is; its weights and buffers stay as they are.

    Args:
        module: a module with the two programs.
        data: the data that it was built for.
        pixels: a first batch, (N, D).
        numbers: number of each example in its split, for messages; 0 to N - 1 if they are not given.
        thorough: False makes only the checks that take little time, as at the start of a training.
    """
    like = like_of(module, pixels)
    pixels = pixels.to(like.device, like.dtype if like.dtype.itemsize >= 4 else pixels.dtype)
    subject = Subject(module, data, pixels, range(len(pixels)) if numbers is None else numbers)
    found: list[Finding] = check_values(subject)
    with unchanged(module):
        of_runs, refused = first_runs(subject)
        found += of_runs
        if lazy := unsized(module):
            what = f"Nothing reaches {listed(lazy)}, which therefore have no size yet."
            return Checked([*found, error("unsized", what, f"{SIZE[0].upper()}{SIZE[1:]}.")], None, [], None)
        for check, without in _checks(thorough=thorough):
            if not any(each.key in without for each in found):
                found += _guarded(check, subject)
        if not any(each.severity is Severity.ERROR for each in found):
            found += refused
        parameters = _ownership(subject)
    return Checked(_distinct(found), parameters, _latents(subject), _likelihood(subject))


def contract_faults(module: nn.Module, data: ModelData) -> list[Finding]:
    """Return the faults of shapes and names that keep the programs from running, each with its place in the code.

    Args:
        module: a module with the two programs.
        data: the data that it was built for; the programs run on the mean.
    """
    like = next((each for each in module.parameters() if each.is_floating_point()), data.mean)
    pixels = data.mean.flatten().to(like).expand(2, -1)
    with unchanged(module):
        found, _ = first_runs(Subject(module, data, pixels, range(2)))
    return [each for each in _distinct(found) if each.severity is Severity.ERROR]


_Check = Callable[[Subject], list[Finding]]

_NO_GRAPH = frozenset({"checkpoint"})
_NO_DERIVATIVES = _NO_GRAPH | {"half-precision", "not-repeatable", "not-finite"}
"""Findings after which a change of the values says nothing about derivatives."""


def _checks(*, thorough: bool) -> list[tuple[_Check, frozenset[str]]]:
    """Return the checks in their order, each with the findings after which its own would only repeat these."""
    nothing = frozenset[str]()
    return [
        (check_precision, nothing),
        (check_checkpoints, nothing),
        (check_finite, _NO_GRAPH),
        (check_repeats, nothing),
        (check_rows, nothing),
        (lambda subject: check_graphs(subject, thorough=thorough), _NO_DERIVATIVES),
        (check_supports, nothing),
        (lambda subject: check_fixed(subject, thorough=thorough), _NO_DERIVATIVES | {"detached"}),
        (check_likelihood, nothing),
    ]


def _guarded(check: Callable[[Subject], list[Finding]], subject: Subject) -> list[Finding]:
    """Run a check, unless the programs cannot be run so far."""
    try:
        return check(subject)
    except Stopped as stop:
        return [stop.finding]
    except DregError as refusal:
        return [error("contract", refusal.what, refusal.hint or "See the contract of LatentModel.")]


def _distinct(found: list[Finding]) -> list[Finding]:
    """Return each finding once, errors first, without those that only follow from another one."""
    mixed = {each.place for each in found if each.key == "rows"}
    kept: dict[object, Finding] = {}
    for each in found:
        if each.key == "fails" and each.place in mixed:
            continue  # what a program kept of another batch has another size
        if each.key == "buffers" and mixed:
            continue  # running statistics
        # A program that fails at one line fails in most checks, with other sizes in the message.
        kept.setdefault((each.key, each.place) if each.key == "fails" else each, each)
    return sorted(kept.values(), key=lambda each: each.severity is not Severity.ERROR)


def _ownership(subject: Subject) -> Ownership | None:
    try:
        return ownership(subject)
    except Stopped:
        return None


def _latents(subject: Subject) -> list[LatentShape]:
    try:
        drawn = subject.posterior.drawn
    except Stopped:
        return []
    try:
        priors = {name: words_of(each.p) for name, each in subject.model.priors.items()}
    except Stopped:
        priors = {}
    return [
        LatentShape(
            name,
            tuple(each.value.shape[2:]),
            words_of(each.q),
            priors.get(name),
            Unfolded.of(each.q).base.has_rsample,
        )
        for name, each in drawn.items()
    ]


def _likelihood(subject: Subject) -> str | None:
    try:
        p = subject.model.likelihood
    except Stopped:
        return None
    return None if p is None else words_of(p)
