"""Check that the likelihood is a distribution over the values that the data have."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.engine.checks.finding import Finding, Place, error, program_place, warning
from dregcli.engine.checks.numbers import indices, listed
from dregcli.engine.checks.subject import Subject
from dregcli.engine.programs.families import innermost, words_of
from dregcli.names import DataKind

_TOLERANCE = 0.01
"""Largest distance of a sum of probabilities from 1."""

_MOST_VALUES = 4096
"""Largest number of values of an example whose probabilities are summed one by one."""

_FITTING = {
    DataKind.BINARY: "torch's Bernoulli(logits=...)",
    DataKind.INTENSITY: "binarise the data (--binarisation dynamic) and use Bernoulli, or use a likelihood of grey "
    "levels, such as a discretised logistic",
    DataKind.REAL: "a density of real values, such as Normal",
}


def check_values(subject: Subject) -> list[Finding]:
    """Check that the pixels are of the kind that the model was promised."""
    pixels, kind = subject.pixels, subject.data.kind
    wrong = {
        DataKind.BINARY: (pixels != 0.0) & (pixels != 1.0),
        DataKind.INTENSITY: (pixels < 0.0) | (pixels > 1.0),
        DataKind.REAL: ~torch.isfinite(pixels),
    }[kind]
    bad = indices(wrong.any(1))
    if not bad:
        return []
    values = {
        DataKind.BINARY: "other than 0 and 1",
        DataKind.INTENSITY: "outside 0 to 1",
        DataKind.REAL: "not finite",
    }
    numbers = listed([str(subject.numbers[i]) for i in bad])
    what = f"The data are of the kind '{kind}', but {len(bad)} of {len(pixels)} examples have values {values[kind]}: "
    return [error("values", f"{what}{numbers}.", "Import the data again, with the right kind.")]


def check_likelihood(subject: Subject) -> list[Finding]:
    """Check the likelihood's support against the values, and where it is cheap that its probabilities sum to 1."""
    p = subject.model.likelihood
    if p is None or subject.model.log_x is None:
        return []
    place = program_place(subject.module, "model")
    return _support(p, subject, place) or _normalisation(p, subject, place)


def _support(p: Distribution, subject: Subject, place: Place | None) -> list[Finding]:
    kind, name = subject.data.kind, words_of(p)
    try:
        support: Any = p.support
        inside = support.check(subject.few.reshape(-1, *p.event_shape))
    except (NotImplementedError, AttributeError, RuntimeError):
        return []
    change = f"For {kind} data: {_FITTING[kind]}."
    if not bool(inside.all()):
        what = (
            f"The data lie outside the support of the likelihood {name}, so that its density of them means nothing."
        )
        return [error("likelihood", what, change, place)]
    if support.is_discrete:
        return []
    if kind is DataKind.BINARY:
        total = _sum_over(_one_value(p), [0.0, 1.0], subject.few)
        what = f"The likelihood {name} is a density, but the pixels are 0 or 1: the bound is no log-probability"
        what += f", since its values at 0 and 1 sum to {total:.3g}, not 1." if total else "."
        return [error("likelihood", what, change, place)]
    if kind is DataKind.INTENSITY and subject.data.levels > 1:
        what = (
            f"The likelihood {name} is a density, but the pixels are grey levels: the bound is no log-probability of "
        )
        what += (
            f"them, and has no upper limit. The probabilities of {subject.data.levels + 1} levels should sum to 1."
        )
        total = _sum_over(_one_value(p), _levels(subject), subject.few)
        what += f" Its values sum to {total:.3g}." if total else ""
        return [warning("likelihood", what, change, place)]
    return []


def _normalisation(p: Distribution, subject: Subject, place: Place | None) -> list[Finding]:
    """Sum the probabilities of a distribution of the user's own; torch's own are normalised."""
    if _is_torchs(p) or subject.data.kind is DataKind.REAL:
        return []
    values = [0.0, 1.0] if subject.data.kind is DataKind.BINARY else _levels(subject)
    total = _sum_over(_one_value(p), values, subject.few)
    if total is None and subject.data.kind is DataKind.BINARY:
        total = _sum_of_product(p, subject.few)
    if total is None or abs(total - 1.0) < _TOLERANCE:
        return []
    what = f"The probabilities of {words_of(p)} sum to {total:.3g}, not 1: the bound is no log-probability."
    change = "Give its log_prob the constant that normalises it, and sum it over all pixels, without a mean."
    return [error("normalisation", what, change, place)]


def _levels(subject: Subject) -> list[float]:
    levels = subject.data.levels
    return [i / levels for i in range(levels + 1)]


def _one_value(p: Distribution) -> Callable[[Tensor], Tensor] | None:
    """Return log p of single values, of all rows and places of an image; None if only whole examples have one."""
    base = innermost(p)
    return None if len(base.event_shape) else base.log_prob


def _sum_over(log_p: Callable[[Tensor], Tensor] | None, values: list[float], like: Tensor) -> float | None:
    """Return the sum of probabilities over values that is the farthest from 1, over rows and places."""
    if log_p is None:
        return None
    total: Tensor | None = None
    with torch.no_grad():
        for value in values:
            each = log_p(like.new_tensor(value)).double().exp()
            total = each if total is None else total + each
    assert total is not None
    return float(total.flatten()[(total - 1.0).abs().flatten().argmax()])


def _sum_of_product(p: Distribution, few: Tensor) -> float | None:
    """Return the sum of probabilities over all binary images, if the log-density is a sum over pixels; else None."""
    width = few.shape[1]
    if width > _MOST_VALUES:
        return None

    def first_row(x: Tensor) -> Tensor:
        """Return log p of images (N, D) in the first row alone."""
        wide = x[:, None, None, :].expand(-1, 1, p.batch_shape[1], -1)
        with torch.no_grad():
            return p.log_prob(wide.reshape(*wide.shape[:3], *p.event_shape)).double()[:, 0, 0]

    start, generator = few[:1], torch.Generator().manual_seed(0)
    try:
        base = first_row(start)[0]
        flipped = torch.where(torch.eye(width, dtype=torch.bool, device=few.device), 1.0 - start, start)
        gain = torch.cat([first_row(part) for part in torch.split(flipped, 128)]) - base
        changed = torch.rand(4, width, generator=generator).to(few.device) < 0.5
        predicted = base + (changed * gain).sum(1)
        found = first_row(torch.where(changed, 1.0 - start, start))
    except (RuntimeError, ValueError):
        return None
    if bool(((predicted - found).abs() > 1e-3 * (1.0 + found.abs())).any()):
        return None
    return float((base + torch.nn.functional.softplus(gain).sum()).exp())


def _is_torchs(p: Distribution) -> bool:
    return type(innermost(p)).__module__.startswith("torch.distributions")
