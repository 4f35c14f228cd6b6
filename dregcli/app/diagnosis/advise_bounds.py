"""Bounds of validation examples at several K, and what their weights say about the posterior."""

from collections.abc import Callable, Sequence
from typing import Final

import torch

from dregcli.app.diagnosis.advice_measured import Bounds, Estimate
from dregcli.app.diagnosis.subject import Subject
from dregcli.engine.diagnostics.pareto import UNRELIABLE
from dregcli.engine.evaluation import seen_batches
from dregcli.engine.likelihood_estimate import BatchEstimates, estimate
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.engine.weights import effective_sample_size
from dregcli.names import Split

MOST_K: Final = 1024
"""Samples of the bound that stands for log p(x), if no measured number of samples is larger."""

MOST_EXAMPLES: Final = 512


def measure_bounds(
    subject: Subject, ks: Sequence[int], *, rows: int, k_chunk: int | None, seed: int, between: Callable[[int], None]
) -> Bounds:
    """Measure the bounds of the first validation examples.

    Args:
        subject: the model and its data.
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
    present = subject.k
    examples = subject.data.examples(split)
    for batch in seen_batches(subject.model, examples, subject.data.pixels, split=split, seed=seed, limit=limit):
        kept: list[torch.Tensor] = []
        found.append(estimate(batch, columns, repeats=1, k_chunk=k_chunk, keep=kept.append))
        ess.append(effective_sample_size(kept[0][:present]))
        between(min(limit, EVALUATION_BATCH * len(found)))
    bound = torch.cat([each.bound[:, 0] for each in found], dim=1)
    khat = torch.cat([each.khat[0] for each in found if each.khat is not None] or [torch.empty(0)])
    sizes = torch.cat(ess)
    return Bounds(
        {k: tuple(bound[i].tolist()) for i, k in enumerate(columns)},  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        tuple(torch.cat([each.elbo[0] for each in found]).tolist()),  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        Estimate(float(sizes.mean()), float(sizes.std() / len(sizes) ** 0.5)),
        float(khat.median()) if len(khat) else None,
        float((khat > UNRELIABLE).double().mean()) if len(khat) else None,
    )
