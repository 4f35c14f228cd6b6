"""Gradients of a frozen model on fixed examples, as a run's executor computes them, by the number of the noise."""

from torch import Tensor

from dregcli.app.planning.executing import execution_of
from dregcli.app.planning.plan import Plan
from dregcli.engine.draws import AddressedDraws
from dregcli.engine.gradients import Step
from dregcli.engine.models.base import Model
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.pixels import training_pixels
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Split
from tests.benchmarks.support.inflation import Gradient

SEED = 10**6
"""Of the examples, their pixels, the noise and the executor's choices: no training seed."""


def frozen_gradient(model: Model, plan: Plan, *, batch: int) -> Gradient:
    """The gradient of a batch of training examples.

    Args:
        model: at which parameters.
        plan: its spec says how the gradient is computed, its data of what.
        batch: which examples.
    """
    spec = plan.spec
    examples = plan.data.examples(Split.TRAIN)
    randomness = Randomness(SEED, examples.device)
    order = randomness.permutation(Stream.DIAGNOSTIC_EXAMPLES, 0, len(examples))
    rows = examples.rows(order[batch * spec.batch_size :][: spec.batch_size])
    pixels = training_pixels(plan.data.pixels, rows, randomness, batch)
    pair, execution = resolve_pair(spec.objective, spec.estimator, spec.k), execution_of(spec)

    def gradient(draw: int) -> dict[str, Tensor]:
        draws = AddressedDraws(
            randomness,
            Stream.DIAGNOSTIC_NOISE,
            (batch << 32) + draw,
            k=spec.k,
            batch=spec.batch_size,
            width=model.latent_width,
            screening=Stream.DIAGNOSTIC_SCREENING,
        )
        found = Step(model, pixels, draws, execution).gradients(pair)
        return {**found.model, **found.posterior}

    return gradient
