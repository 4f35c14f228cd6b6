"""The bound of a model over a split, as ``dreg eval`` computes it."""

import torch

from dregcli.app.planning.executing import OnOff, Shape, decide_compile
from dregcli.app.planning.plan import Plan
from dregcli.engine.evaluation import evaluate
from dregcli.engine.models.base import Model
from dregcli.names import Split


def automatic_chunk(plan: Plan, k: int) -> int | None:
    """What ``dreg eval`` takes for its chunks of samples here."""
    return Shape.of_run(plan.spec, plan.data.dataset).evaluation_chunk(k)


def compiles(plan: Plan, word: str, *, examples: int, k: int, k_chunk: int | None) -> OnOff:
    """Whether ``dreg eval --compile`` compiles here."""
    shape = Shape.of_run(plan.spec, plan.data.dataset)
    return decide_compile(word, shape.evaluation_saves(examples=examples, k=k, k_chunk=k_chunk))[0]


def split_bounds(
    model: Model, plan: Plan, split: Split, *, k: int, limit: int | None, k_chunk: int | None
) -> torch.Tensor:
    """The bound of each example, nats, float64."""
    examples, pixels, seed = plan.data.examples(split), plan.data.pixels, plan.spec.eval_seed
    found = evaluate(model, examples, pixels, split=split, k=k, seed=seed, limit=limit, k_chunk=k_chunk)
    return torch.cat([batch.bound for batch in found])
