"""What a run trains, in words, before its first step."""

from typing import Final

from torch import nn

from dregcli.app.common.ranks import ranks_here
from dregcli.app.planning.optimising import optimisation_in_words
from dregcli.app.planning.plan import Plan
from dregcli.app.planning.words import short_words
from dregcli.devices import DeviceKind, kind_of
from dregcli.engine.device import gpu
from dregcli.engine.training import Trainer
from dregcli.names import Shard, Split
from dregcli.specs.execution import gradient_in_words
from dregcli.specs.run import RunSpec
from dregcli.wording import counted

_SHARED: Final = {Shard.SAMPLES: "samples", Shard.BATCH: "examples"}


def opening_lines(plan: Plan, trainer: Trainer) -> list[str]:
    """Return lines that say what is trained, on which data, and how.

    Args:
        plan: the run.
        trainer: the run's trainer, before the step that comes next.
    """
    spec, data = plan.spec, plan.data.dataset
    *most, last = (f"{len(data.splits[split]):,} {split}" for split in Split)
    pair = "/".join(short_words(spec).values())
    task = f", {spec.task}" if spec.task != type(spec).model_fields["task"].default else ""
    colours = f"x{data.channels}" if data.channels > 1 else ""
    done = f", {trainer.step:,} of them done" if trainer.step else ""
    shape = f"{data.height}x{data.width}{colours}"
    lines = [
        f"training {pair} at K={spec.k:,} on {spec.dataset}{task}: {', '.join(most)} and {last} examples of "
        f"{shape} pixels; batches of {spec.batch_size:,}, {counted(spec.steps, 'step')}{done}",
        f"{_device(spec)}; {_size(spec, trainer)}; gradient {_gradient(spec, trainer)}",
    ]
    if how := optimisation_in_words(spec):
        lines.append(how)
    if spec.bound_k != spec.k:
        lines.append(f"evaluations: {counted(spec.bound_k, 'sample')} per example (--eval-k)")
    return lines


def _device(spec: RunSpec) -> str:
    found = gpu(spec.device)
    name = f" ({found['name']})" if found else ""
    number = f", {counted(spec.threads, 'thread')}" if spec.threads else ""
    ranks = ranks_here()
    shared = f"; {ranks.size} ranks share the {_SHARED[spec.shard]} of each step" if ranks else ""
    return f"on {spec.device}{name}{number}{shared}"


def _size(spec: RunSpec, trainer: Trainer) -> str:
    theta, phi = (
        counted(_numbers(part), "parameter")
        for part in (trainer.model.model_parameters(), trainer.model.posterior_parameters())
    )
    frozen = " (frozen)" if spec.parent else ""
    return f"{spec.model}: theta{frozen} has {theta}, phi {phi}"


def _numbers(parameters: dict[str, nn.Parameter]) -> int:
    return sum(each.numel() for each in parameters.values())


def _gradient(spec: RunSpec, trainer: Trainer) -> str:
    chunk = f", {spec.k_chunk:,} samples at a time" if spec.k_chunk else ""
    compiled = ", compiled likelihood" if spec.compile == "on" else ""
    is_cuda = kind_of(spec.device) == DeviceKind.CUDA
    recorded = f", {'' if trainer.records else 'not '}recorded as a CUDA graph" if is_cuda else ""
    return f"{gradient_in_words(spec)}{chunk}{compiled}{recorded}"
