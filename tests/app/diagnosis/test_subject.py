"""What a bias check is made on."""

import torch

from dregcli.defaults import TRAINING_STEPS
from dregcli.engine.diagnostics.learn import learn_on_frozen
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.specs.options import RunOptions
from tests.support.exact import small_batch, small_vae


def test_the_model_is_trained_as_long_as_the_references() -> None:
    assert TRAINING_STEPS == 1000
    assert RunOptions().dataset == "digits"


def test_what_is_learned_on_a_frozen_model_is_learned_on_other_noise() -> None:
    """Scalars fitted to the noise of the check would not be fixed numbers there."""
    seen: list[Stream] = []

    class Spy(Randomness):
        def normal(self, stream, step, **options):
            seen.append(stream)
            return super().normal(stream, step, **options)

    model = small_vae()
    pixels, _ = small_batch(model, k=4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learned = learn_on_frozen(model, pixels, resolve_pair("iwae", "dreg-cv", 4), k=4, randomness=Spy(0))
    assert set(seen) == {Stream.LEARNING_NOISE}
    assert learned.estimator.beta != 0.0
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
