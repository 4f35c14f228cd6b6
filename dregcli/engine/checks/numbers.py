"""Checks of a model's numbers: they are finite, single or double precision, and the same in every run."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dregcli.engine.checks.finding import Finding, error, program_place, warning
from dregcli.engine.checks.row_patterns import rows_differ
from dregcli.engine.checks.runs import Densities, Posterior, total
from dregcli.engine.checks.subject import Subject
from dregcli.engine.checks.watch import Call, Watch, breaks, is_half, place_of
from dregcli.engine.reach import NO_REENTRANT, Reach

_NAMED = 8
"""Largest number of names in a message."""


def listed(names: list[str]) -> str:
    """Return some names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def indices(mask: Tensor) -> list[int]:
    """Return where a mask (N,) is true."""
    return [int(each) for each in mask.nonzero().flatten()]


def check_precision(subject: Subject) -> list[Finding]:
    """Find parameters in half precision, and the line at which the programs' numbers become half precision."""
    half = [n for n, each in subject.module.named_parameters() if each.dtype in (torch.float16, torch.bfloat16)]
    if half:
        what = f"Parameters have half precision: {listed(half)}."
        change = "Keep the parameters in float32, and remove .half() and .bfloat16()."
        return [error("half-precision", what, change)]
    if double := [n for n, each in subject.module.named_parameters() if each.dtype is torch.float64]:
        what = f"Parameters are float64, and data and random numbers of a training are float32: {listed(double)}."
        change = "Keep the parameters in float32: remove .double() and dtype=torch.float64."
        return [error("double-precision", what, change)]
    if any(map(is_half, subject.calls)):
        what = "The numbers of a program pass through half precision, which rounds log-densities of hundreds of nats."
        change = "Leave autocast, or call .float(), before the distributions are built; sums must be float32."
        return [warning("half-precision", what, change, place_of(subject.calls, is_half))]
    return []


def check_checkpoints(subject: Subject) -> list[Finding]:
    """Find graphs with a reentrant checkpoint, which cannot be differentiated by some tensors alone."""
    densities = (*subject.posterior.log_q.values(), *subject.model.log_p.values())
    if any(Reach.of(each).is_reentrant for each in densities):
        what = "A program calls torch's checkpoint with use_reentrant=True, which allows no derivatives by samples."
        return [error("checkpoint", what, f"{NO_REENTRANT[0].upper()}{NO_REENTRANT[1:]}.")]
    return []


def check_finite(subject: Subject) -> list[Finding]:
    """Look for NaN and infinity in the densities of the whole batch, and in their gradients."""
    run = subject.draw(subject.pixels, 1 if len(subject.pixels) > 1 else 2)
    model = subject.programs.model(run.values, subject.pixels)
    found: list[Finding] = []
    for what, density in _parts(run.log_q, model.log_p):
        bad = indices((~torch.isfinite(density.detach())).any(0))
        if bad:
            numbers = listed([str(subject.numbers[i]) for i in bad])
            message = f"{what} is not finite for {len(bad)} of {density.shape[1]} examples: {numbers}."
            change = "Look for a logarithm or a root of 0, a division by 0, an exp that overflows, and a scale that "
            change += "becomes 0."
            found.append(error("not-finite", message, change, place_of(_calls(subject, subject.pixels), breaks)))
    if found or not model.log_p or not run.log_q:
        return found[:1] if len(found) > 1 and found[0].place == found[-1].place else found
    log_w = total(model.log_p) - total(run.log_q)
    parameters = {n: each for n, each in subject.module.named_parameters() if each.requires_grad}
    if not parameters or not log_w.requires_grad:
        return []
    gradients = torch.autograd.grad(log_w.sum(), list(parameters.values()), allow_unused=True, materialize_grads=True)
    broken = [name for name, each in zip(parameters, gradients, strict=True) if not torch.isfinite(each).all()]
    if broken:
        what = f"The gradients of {listed(broken)} are not finite, although the densities are."
        change = "Look for a root or a norm at 0, and for torch.where, whose unused branch still has a gradient."
        return [error("not-finite", what, change)]
    return []


def _parts(log_q: Densities, log_p: Densities) -> Iterator[tuple[str, Tensor]]:
    yield from ((f"log q of '{name}'", each) for name, each in log_q.items())
    yield from log_p.items()


def _calls(subject: Subject, pixels: Tensor) -> list[Call]:
    with Watch(subject.programs.frames) as watch:
        run = subject.draw(pixels, 1)
        subject.programs.model(run.values, pixels)
    return watch.calls


def check_repeats(subject: Subject) -> list[Finding]:
    """Run each program twice with the same random numbers, and see whether the model's program draws any."""
    found: list[Finding] = []
    with torch.no_grad():
        if subject.has_random_model:
            what = "The model's program draws random numbers, such as dropout's: log p of the same z differs between "
            what += "the passes of one step, and the gradients are wrong."
            change = "Remove dropout from p(x, z), or draw the numbers in posterior as a latent."
            with Watch(subject.programs.frames) as watch:
                subject.programs.model(subject.z, subject.few)
            place = place_of(watch.calls, lambda call: call.draws) or program_place(subject.module, "model")
            found.append(error("random-model", what, change, place))
        state = {name: each.clone() for name, each in subject.module.named_buffers()}
        first, again = (subject.programs.model(subject.z, subject.few).log_p for _ in range(2))
        found += _changed("model", first, again, subject)
        found += _changed("posterior", _values(subject.draw()), _values(subject.draw()), subject)
    moved = [n for n, each in subject.module.named_buffers() if not torch.equal(state[n], each)]
    if moved and not found:
        what = f"Every run changes {listed(moved)}, although the densities stay: a step runs the programs twice."
        change = "Check that this is on purpose."
        found.append(warning("buffers", what, change))
    return found


def _values(run: Posterior) -> dict[str, Tensor]:
    """Return a run's samples and densities."""
    return {**run.values, **{f"log q of {name}": each for name, each in run.log_q.items()}}


def _changed(program: str, one: Densities, other: Densities, subject: Subject) -> list[Finding]:
    differ = [name for name in one if name in other and _differ(one[name], other[name])]
    if not differ or any(not torch.isfinite(each).all() for each in (*one.values(), *other.values())):
        return []
    what = f"The program '{program}' gives other numbers for the same input and the same random numbers."
    change = "Look for a counter or a buffer that changes in every run (spectral_norm in training mode), for random "
    change += "numbers of numpy or Python, and for a generator of its own: use torch's random numbers."
    return [error("not-repeatable", what, change, program_place(subject.module, program))]


def _differ(one: Tensor, other: Tensor) -> bool:
    """Whether two runs differ: a CPU repeats bit for bit; on other devices sums may have another order."""
    return not torch.equal(one, other) if one.device.type == "cpu" else bool(rows_differ(one, other).any())
