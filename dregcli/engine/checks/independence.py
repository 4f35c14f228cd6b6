"""Check, by trial, that each entry (k, b) of every log-density depends on sample (k, b) and example b alone."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dregcli.engine.checks.finding import Finding, Place, error, program_place
from dregcli.engine.checks.row_patterns import row_patterns, rows_differ
from dregcli.engine.checks.runs import Densities, Stopped
from dregcli.engine.checks.subject import EXAMPLES, SAMPLES, Subject
from dregcli.engine.checks.watch import Call, Watch, place_of

_ROUNDING = {"cpu": 1e-4}
"""Largest relative difference between rows that are computed in another arrangement, by kind of device."""

_COARSE = 1e-2
"""Largest such difference on devices that are not in the table: their matrix products may round the inputs."""

_CHANGE = (
    "Entry (k, b) must depend on sample (k, b) and example b alone. Replace BatchNorm by GroupNorm or LayerNorm; "
    "look for a sum, mean or softmax over the first axes, and for a reshape, view or transpose that swaps K and B."
)


def check_rows(subject: Subject) -> list[Finding]:
    """Replace some rows and look at the others; then compute some rows alone."""
    return [*_of_posterior(subject), *_of_model(subject)]


def _of_posterior(subject: Subject) -> list[Finding]:
    """Replace some examples, then some samples of earlier latents; the log q of the others must stay."""
    bases: dict[str, Tensor] = {}

    def run(pixels: Tensor, drawn: dict[str, Tensor]) -> Densities:
        with torch.no_grad():
            return subject.programs.weigh_posterior(pixels, drawn, bases)

    if not subject.posterior.drawn:
        return []
    few, z = subject.few, subject.z
    before = run(few, z)
    if _moved(before, run(few, z)):
        return []  # other numbers for the same input: another check reports it
    fallback = program_place(subject.module, "posterior")
    for pattern in _patterns(subject):
        examples = pattern[:1].expand(SAMPLES, EXAMPLES)
        x = torch.where(pattern[0][:, None], subject.others, few)
        if mixed := _moved(before, run(x, z), examples):
            what = f"log q of {_names(mixed)} changes for examples whose pixels stay, if other examples change."
            place = _place(subject, lambda: run(few, z), lambda x=x: run(x, z), examples)
            return [error("rows", what, _CHANGE, place or fallback)]
        drawn = {name: _replaced(each, pattern) for name, each in z.items()}
        if len(z) > 1 and (mixed := _moved(before, run(few, drawn), pattern)):
            what = f"log q of {_names(mixed)} changes for samples that stay, if other samples change."
            place = _place(subject, lambda: run(few, z), lambda drawn=drawn: run(few, drawn), pattern)
            return [error("rows", what, _CHANGE, place or fallback)]
    return []


def _of_model(subject: Subject) -> list[Finding]:
    """Replace some samples, then some examples; the log p of the others must stay."""

    def run(z: dict[str, Tensor], pixels: Tensor) -> Densities:
        with torch.no_grad():
            return subject.programs.model(z, pixels).log_p

    few, z = subject.few, subject.z
    before = run(z, few)
    if not before or _moved(before, run(z, few)):
        return []
    fallback = program_place(subject.module, "model")
    for pattern in _patterns(subject):
        drawn = {name: _replaced(each, pattern) for name, each in z.items()}
        if mixed := _moved(before, run(drawn, few), pattern):
            what = f"{' and '.join(mixed)} changes for samples that stay, if other samples change."
            place = _place(subject, lambda: run(z, few), lambda drawn=drawn: run(drawn, few), pattern)
            return [error("rows", what, _CHANGE, place or fallback)]
        x = torch.where(pattern[0][:, None], subject.others, few)
        if mixed := _moved(before, run(z, x), pattern[:1].expand(SAMPLES, EXAMPLES)):
            what = f"{' and '.join(mixed)} changes for examples whose pixels stay, if other examples change."
            return [error("rows", what, _CHANGE, fallback)]
    # Random numbers belong to places, so rows that are computed alone get others; another check reports them.
    return [] if subject.has_random_model else _alone(subject, before, fallback)


def _alone(subject: Subject, before: Densities, place: Place | None) -> list[Finding]:
    """Compute chosen rows alone, as the screened gradient does, and compare them with the same rows among all."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(SAMPLES * EXAMPLES, generator=generator)[:7].to(subject.few.device)
    k, b = chosen // EXAMPLES, chosen % EXAMPLES
    change = (
        "Compute everything from z, and keep nothing of a batch in self: the engine asks for some rows alone, of "
    )
    change += "shape (1, R, ...)."
    try:
        with torch.no_grad():
            z = {name: each[k, b].unsqueeze(0) for name, each in subject.z.items()}
            run = subject.programs.model(z, subject.few[b])
    except Stopped as stop:
        what = f"log p of some rows alone cannot be computed. {stop.finding.what}"
        return [error("rows", what, change, stop.finding.place or place)]
    if run.findings and not subject.model.findings:
        what = f"log p of some rows alone has another form. {run.findings[0].what}"
        return [error("rows", what, change, run.findings[0].place or place)]
    for name in before.keys() & run.log_p.keys():
        one, other = run.log_p[name][0], before[name][k, b]
        rounding = _ROUNDING.get(one.device.type, _COARSE)
        if bool(((one - other).abs() > rounding * (1.0 + other.abs())).any()):
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


def _names(mixed: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in mixed)


def _place(
    subject: Subject, before: Callable[[], object], after: Callable[[], object], replaced: Tensor
) -> Place | None:
    """Return the place of the first call whose output changes in rows that were not replaced."""
    calls: list[list[Call]] = []
    for run in (before, after):
        with Watch(subject.programs.frames) as watch:
            run()
        calls.append(watch.calls)
    pairs = iter(calls[1])

    def mixes(call: Call) -> bool:
        other = next(pairs, None)
        if other is None or other.name != call.name:
            return False
        return any(_mixes(one, two, replaced) for one, two in zip(call.outputs, other.outputs, strict=False))

    return place_of(calls[0], mixes)


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
