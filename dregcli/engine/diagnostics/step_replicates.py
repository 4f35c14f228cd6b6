"""Gradients of training steps: every replicate has a batch of its own, as the steps of a training have."""

from collections.abc import Sequence

import torch

from dregcli.engine.diagnostics.replicates import Drawn, ModelReplicates, networks_of, prior_gradients_of
from dregcli.engine.examples import Examples
from dregcli.engine.models.base import Model
from dregcli.engine.pairs import Pair
from dregcli.engine.pixels import Pixels, training_pixels
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import PriorGradient


class StepReplicates:
    """Gradients of a frozen model on random batches, as an optimisation step has them.

    ``ModelReplicates`` fixes the examples, so that only the samples of z make its gradients vary. A step also varies
    with its examples and pixels, which no estimator can help: a comparison without them promises more than training
    gives. All pairs see the same batch and the same noise.

    Args:
        model: frozen model.
        examples: examples of the training split.
        pixels: rule that turns stored values into pixels.
        randomness: random numbers of batches, pixels and noise.
        batch_size: examples per step, at most N.
        k_chunk: samples at once; None takes all.
    """

    at_once = 1

    def __init__(
        self,
        model: Model,
        examples: Examples,
        pixels: Pixels,
        randomness: Randomness,
        *,
        batch_size: int,
        k_chunk: int | None = None,
    ) -> None:
        self._model, self._examples, self._pixels = model, examples, pixels
        self._randomness, self._batch_size, self._k_chunk = randomness, batch_size, k_chunk
        # Batches are drawn on the CPU, so that every device measures the same ones.
        self._order = Randomness(randomness.seed)
        self.networks = networks_of(model)
        self.prior_gradients = prior_gradients_of(model)

    @property
    def device(self) -> torch.device:
        """The device of the examples."""
        return self._examples.device

    def takes(self, pair: Pair) -> bool:
        """Return whether the model can be trained by a pair."""
        return not self._model.faults(pair)

    def draw(
        self,
        stream: Stream,
        number: int,
        count: int,
        pairs: Sequence[Pair],
        k: int,
        prior: Sequence[PriorGradient] = (),
    ) -> Drawn:
        """Draw one replicate, by one forward and one backward pass for all pairs; see ``Replicates``."""
        # Number 0 of these two streams belongs to the fixed examples of other diagnoses.
        at = number + 1
        chosen = self._order.permutation(Stream.DIAGNOSTIC_EXAMPLES, at, len(self._examples))[: self._batch_size]
        stored = self._examples.rows(chosen)
        pixels = training_pixels(self._pixels, stored, self._order, at, Stream.DIAGNOSTIC_PIXELS)
        source = ModelReplicates(self._model, pixels, self._randomness, k_chunk=self._k_chunk)
        return source.draw(stream, number, count, pairs, k, prior or self.prior_gradients[:1])
