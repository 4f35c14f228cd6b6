"""Bounds of validation examples at several K, and what their weights say about the posterior."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import torch

from dregcli.app.diagnosis.advice_measured import Bounds, Estimate
from dregcli.app.diagnosis.subject import Subject
from dregcli.app.loading.build import build_model
from dregcli.app.loading.restore import load_model
from dregcli.engine.diagnostics.pareto import UNRELIABLE
from dregcli.engine.evaluation import seen_batches
from dregcli.engine.likelihood_estimate import BatchEstimates, columns_of, estimate
from dregcli.engine.models.base import Model
from dregcli.engine.objectives import Objective
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.engine.weights import effective_sample_size
from dregcli.errors import DregError
from dregcli.names import Split

MOST_K: Final = 1024
"""Samples of the bound that stands for log p(x), if no measured number of samples is larger."""

MOST_EXAMPLES: Final = 512


def measure_bounds(
    subject: Subject,
    objective: Objective,
    ks: Sequence[int],
    *,
    rows: int,
    k_chunk: int | None,
    seed: int,
    between: Callable[[int], None],
) -> Bounds:
    """Measure the bounds of the first validation examples.

    Args:
        subject: the model and its data.
        objective: objective of the advice, with its fitted numbers.
        ks: numbers of samples of the advice.
        rows: largest number of decoder rows, as far as there are at least 32 examples and four times K samples.
        k_chunk: samples at once.
        seed: seed of the pixels and the noise.
        between: called with the number of finished examples after each batch.
    """
    most = max(*ks, min(MOST_K, max(64, rows // 128)))
    limit = max(32, min(MOST_EXAMPLES, rows // most))
    split = Split.VALID if subject.data.size(Split.VALID) else Split.TRAIN
    columns = sorted({*ks, most})
    found: list[BatchEstimates] = []
    ess: list[torch.Tensor] = []
    defined = [k for k in ks if k >= objective.smallest_k and not objective.faults(k)]
    is_linear = all(objective.of_theta.is_linear(k) for k in defined)
    tightens = is_linear or objective.rises_with_k
    valued = objective if tightens else Iwae()
    values: list[torch.Tensor] = []
    at_present: list[torch.Tensor] = []
    present, earlier = subject.k, earlier_model(subject)
    before: list[torch.Tensor] = []
    examples = subject.data.examples(split)
    for batch in seen_batches(subject.model, examples, subject.data.pixels, split=split, seed=seed, limit=limit):
        kept: list[torch.Tensor] = []
        found.append(estimate(batch, columns, repeats=1, k_chunk=k_chunk, keep=kept.append))
        ess.append(effective_sample_size(kept[0][:present]))
        values.append(torch.stack([_value(valued, kept[0], k) for k in defined]))
        if earlier:
            seen = replace(batch, model=earlier[1])
            at_present.append(valued.value(kept[0][:present]))
            before.append(valued.value(seen.log_weights(k=present, k_chunk=k_chunk).double()))
        between(min(limit, EVALUATION_BATCH * len(found)))
    bound = torch.cat([each.bound[:, 0] for each in found], dim=1)
    khat = torch.cat([each.khat[0] for each in found if each.khat is not None] or [torch.empty(0)])
    sizes, rises = torch.cat(ess), None
    if earlier:
        doublings = math.log2(subject.checkpoint / earlier[0])
        rises = _numbers((torch.cat(at_present) - torch.cat(before)) / doublings)
    elbo = _numbers(torch.cat([each.elbo[0] for each in found]))
    of_objective = torch.cat(values, dim=1)
    return Bounds(
        {k: _numbers(bound[i]) for i, k in enumerate(columns)},
        # A linear objective has one expectation at every K, so that its gain is exactly 0.
        {k: elbo if is_linear else _numbers(of_objective[i]) for i, k in enumerate(defined)},
        elbo,
        Estimate(float(sizes.mean()), float(sizes.std() / len(sizes) ** 0.5)),
        float(khat.median()) if len(khat) else None,
        float((khat > UNRELIABLE).double().mean()) if len(khat) else None,
        rises,
        tightens,
    )


def _value(objective: Objective, log_w: torch.Tensor, k: int) -> torch.Tensor:
    """Return the mean over all whole groups of k draws of an objective's value, (B,), from log-weights (K, B)."""
    groups = log_w.shape[0] // k
    return objective.value(columns_of(log_w, k).double()).reshape(groups, log_w.shape[1]).mean(dim=0)


def earlier_model(subject: Subject) -> tuple[int, Model] | None:
    """Return an earlier checkpoint's step and model: the newest with at most three quarters of the steps.

    Nearer ones say little about the next doubling of the steps, and those with less than an eighth of the steps, too.
    """
    now = subject.checkpoint
    steps = [step for step in subject.run.checkpoints() if step > 0 and now / 8 <= step <= 0.75 * now]
    if not steps:
        return None
    with suppress(DregError):  # a damaged checkpoint is no reason to give no advice
        checkpoint = subject.run.load_checkpoint(max(steps))
        model = build_model(subject.spec, subject.data.model_data, subject.code)
        load_model(model, checkpoint, subject.run)
        return checkpoint.step, model
    return None


def _numbers(values: torch.Tensor) -> tuple[float, ...]:
    """Return the numbers of a tensor of shape (n,)."""
    return tuple(map(float, values))
