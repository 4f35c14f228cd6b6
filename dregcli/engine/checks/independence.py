"""Check, by trial, that each entry (k, b) of every log-density depends on sample (k, b) and example b alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dregcli.engine.checks.finding import Finding, Place, error, program_place
from dregcli.engine.checks.passes import Densities, Stopped
from dregcli.engine.checks.subject import EXAMPLES, SAMPLES, Subject
from dregcli.engine.checks.watch import Call, Watch, place_of
from dregcli.engine.row_check import row_patterns, rows_differ

_ROUNDING = 1e-4
"""Largest relative difference between rows that are computed in another arrangement."""

_CHANGE = (
    "Entry (k, b) must depend on sample (k, b) and example b alone. Replace BatchNorm by GroupNorm or LayerNorm; look "
    "for a sum, mean or softmax over the first axes, and for a reshape, view or transpose that swaps K and B."
)


def check_rows(subject: Subject) -> list[Finding]:
    """Replace some rows and look at the others; then compute some rows alone."""
    return [*_of_posterior(subject), *_of_model(subject)]


def _of_posterior(subject: Subject) -> list[Finding]:
    """Replace some examples, then some samples of earlier latents; the log q of the others must stay."""
    if not subject.posterior.drawn:
        return []
    bases: dict[str, Tensor] = {}

    def run(pixels: Tensor, drawn: dict[str, Tensor]) -> tuple[Densities, list[Call]]:
        with torch.no_grad(), Watch(subject.programs.frames) as watch:
            return subject.programs.weigh_posterior(pixels, drawn, bases), watch.calls

    before, calls = run(subject.few, subject.z)
    if _moved(before, run(subject.few, subject.z)[0]):
        return []  # other numbers for the same input: another check reports it
    for pattern in _patterns(subject):
        examples = pattern[0]
        x = torch.where(examples[:, None], subject.others, subject.few)
        after, others = run(x, subject.z)
        mixed = _moved(before, after, examples.expand(SAMPLES, EXAMPLES))
        if mixed:
            what = f"{_names(mixed, 'log q of ')} changes for examples whose pixels stay, if other examples change."
            place = _place(calls, others, examples.expand(SAMPLES, EXAMPLES))
            return [error("rows", what, _CHANGE, place or program_place(subject.module, "posterior"))]
        if len(subject.z) > 1:
            drawn = {name: _replaced(z, pattern) for name, z in subject.z.items()}
            after, others = run(subject.few, drawn)
            if mixed := _moved(before, after, pattern):
                what = f"{_names(mixed, 'log q of ')} changes for samples that stay, if other samples change."
                place = _place(calls, others, pattern)
                return [error("rows", what, _CHANGE, place or program_place(subject.module, "posterior"))]
    return []


def _of_model(subject: Subject) -> list[Finding]:
    def run(z: dict[str, Tensor], pixels: Tensor) -> tuple[Densities, list[Call]]:
        with torch.no_grad(), Watch(subject.programs.frames) as watch:
            return subject.programs.model(z, pixels).log_p, watch.calls

    before, calls = run(subject.z, subject.few)
    if not before or _moved(before, run(subject.z, subject.few)[0]):
        return []
    place = program_place(subject.module, "model")
    for pattern in _patterns(subject):
        after, others = run({name: _replaced(z, pattern) for name, z in subject.z.items()}, subject.few)
        if mixed := _moved(before, after, pattern):
            what = f"{_names(mixed)} changes for samples that stay, if other samples change."
            return [error("rows", what, _CHANGE, _place(calls, others, pattern) or place)]
        examples = pattern[:1].expand(SAMPLES, EXAMPLES)
        after, _ = run(subject.z, torch.where(pattern[0][:, None], subject.others, subject.few))
        if mixed := _moved(before, after, examples):
            what = f"{_names(mixed)} changes for examples whose pixels stay, if other examples change."
            return [error("rows", what, _CHANGE, place)]
    return _alone(subject, before, place)


def _alone(subject: Subject, before: Densities, place: Place | None) -> list[Finding]:
    """Compute chosen rows alone, as the screened gradient does, and compare them with the same rows among all."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(SAMPLES * EXAMPLES, generator=generator)[:7].to(subject.few.device)
    k, b = chosen // EXAMPLES, chosen % EXAMPLES
    change = "Compute everything from z, and keep nothing of a batch in self: the engine asks for some rows alone, of "
    change += "shape (1, R, ...)."
    try:
        with torch.no_grad():
            z = {name: each[k, b].unsqueeze(0) for name, each in subject.z.items()}
            run = subject.programs.model(z, subject.few[b])
    except Stopped as stop:
        what = f"log p of some rows alone cannot be computed. {stop.finding.what}"
        return [error("rows", what, change, stop.finding.place or place)]
    if run.findings:
        what = f"log p of some rows alone has another form. {run.findings[0].what}"
        return [error("rows", what, change, run.findings[0].place or place)]
    for name, whole in before.items():
        one, other = run.log_p[name][0], whole[k, b]
        if bool(((one - other).abs() > _ROUNDING * (1.0 + other.abs())).any()):
            what = f"{name} of some rows differs when they are computed alone."
            return [error("rows", what, f"{_CHANGE} {change}", place)]
    return []


def _patterns(subject: Subject) -> list[Tensor]:
    """Return which rows to replace, bool (K, B) each."""
    patterns = row_patterns(SAMPLES, EXAMPLES)
    whole = torch.arange(EXAMPLES) % 2 == 0
    return [each.to(subject.few.device) for each in [whole.expand(SAMPLES, EXAMPLES), *patterns]]


def _replaced(z: Tensor, pattern: Tensor) -> Tensor:
    """Replace rows by the sample of another row, which is in the support too."""
    other = z.roll((1, 2), dims=(0, 1))
    return torch.where(pattern.reshape(*pattern.shape, *(1,) * (z.ndim - 2)), other, z)


def _moved(before: Densities, after: Densities, replaced: Tensor | None = None) -> list[str]:
    """Return the names of densities that differ outside the replaced rows."""
    return [
        name
        for name in before
        if name in after
        and bool((rows_differ(before[name], after[name]) & (~replaced if replaced is not None else True)).any())
    ]


def _names(mixed: Sequence[str], before: str = "") -> str:
    return " and ".join(f"{before}'{name}'" if before else name for name in mixed)


def _place(before: list[Call], after: list[Call], replaced: Tensor) -> Place | None:
    """Return the place of the first call whose output changes in rows that were not replaced."""
    pairs = iter(after)

    def mixes(call: Call) -> bool:
        other = next(pairs, None)
        if other is None or other.name != call.name:
            return False
        return any(_mixes(one, two, replaced) for one, two in zip(call.outputs, other.outputs, strict=False))

    return place_of(before, mixes)


def _mixes(one: Tensor, other: Tensor, replaced: Tensor) -> bool:
    if one.shape != other.shape or not one.is_floating_point():
        return False
    shape = tuple(one.shape)
    if shape[:2] == tuple(replaced.shape):
        kept = ~replaced.flatten()
        one, other = one.flatten(0, 1), other.flatten(0, 1)
    elif shape[:1] == (replaced.numel(),):
        kept = ~replaced.flatten()
    elif shape[:1] == (EXAMPLES,):
        kept = ~replaced.any(0)
    else:
        return False
    return bool(rows_differ(one[kept], other[kept]).any())
