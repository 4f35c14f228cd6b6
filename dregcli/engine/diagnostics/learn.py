"""What an estimator would learn on a frozen model."""

from torch import Tensor

from dregcli.engine.draws import AddressedNoise
from dregcli.engine.execution import Execution
from dregcli.engine.gradients import Step
from dregcli.engine.learning import LearnedParameters
from dregcli.engine.models.base import LatentModel
from dregcli.engine.pairs import Pair
from dregcli.engine.randomness import Randomness, Stream

STEPS = 200
LR = 1e-2


def learn_on_frozen(
    model: LatentModel, pixels: Tensor, pair: Pair, *, k: int, randomness: Randomness, k_chunk: int | None = None
) -> Pair:
    """The pair at what its estimator learns from the posterior's gradients, with the model left as it is.

    Args:
        model: frozen.
        pixels: shape (B, D).
        pair: learning starts at its estimator's values.
        k: samples per example.
        randomness: addresses the noise, in a stream of its own: a check on the same noise would not be of fixed
            parameters.
        k_chunk: samples at once; None is all.
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
