"""The first batch of a training."""

from torch import Tensor

from dregcli.engine.examples import Examples
from dregcli.engine.pixels import Pixels, training_pixels
from dregcli.engine.randomness import Randomness, Stream


def first_batch(examples: Examples, pixels: Pixels, *, size: int, seed: int) -> tuple[list[int], Tensor]:
    """Return the examples of a training's first step, as ``Trainer`` takes them.

    Args:
        examples: training split.
        pixels: rule that turns stored values into pixels.
        size: examples of a batch.
        seed: seed of the run.

    Returns:
        Their numbers in the split, and their pixels, (size, D).
    """
    randomness = Randomness(seed, examples.device)
    order = randomness.permutation(Stream.ORDER, 0, len(examples))[:size]
    return [int(each) for each in order], training_pixels(pixels, examples.rows(order), randomness, 0)
