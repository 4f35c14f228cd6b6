"""What is learned on a frozen model: an estimator's parameters, and the numbers of an objective."""

import torch
from torch import Tensor

from dregcli.engine.draws import AddressedNoise
from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.learning import LearnedParameters
from dregcli.engine.models.base import Model
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair
from dregcli.engine.randomness import Randomness, Stream

STEPS = 200
LR = 1e-2


def learn_on_frozen(
    model: Model, pixels: Tensor, pair: Pair, *, k: int, randomness: Randomness, k_chunk: int | None = None
) -> Pair:
    """Return the pair with the parameters that its estimator learns from the posterior's gradients at a fixed model.

    Args:
        model: frozen model.
        pixels: pixels, shape (B, D).
        pair: pair whose estimator's values learning starts from.
        k: samples per example.
        randomness: random numbers of the noise, from a stream of its own: the learned parameters must not depend on
            the noise of a later check.
        k_chunk: samples at once; None takes all.
    """
    learned = LearnedParameters(pair, lr=LR)
    for number in range(STEPS):
        draws = AddressedNoise(
            randomness,
            Stream.LEARNING_NOISE,
            number,
            k=k,
            batch=pixels.shape[0],
            width=model.latent_width,
            dtype=pixels.dtype,
        )
        slopes = (
            Step(model, pixels, draws, Execution(k_chunk=k_chunk)).gradients(learned.pair, train_model=False).learned
        )
        learned.update({name: float(slope) for name, slope in slopes.items()})
    return learned.pair


@torch.no_grad()
def fit_on_frozen(
    model: Model, pixels: Tensor, objective: Objective, *, k: int, randomness: Randomness, k_chunk: int | None = None
) -> Objective:
    """Return an objective with its numbers fitted to the log-weights of a fixed model; see ``learn_on_frozen``."""
    width = model.latent_width
    noise = AddressedNoise(
        randomness, Stream.FITTING_NOISE, 0, k=k, batch=pixels.shape[0], width=width, dtype=pixels.dtype
    )
    return objective.fitted(model.batch(pixels, noise).log_weights(k_chunk=k_chunk))
