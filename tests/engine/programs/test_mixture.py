"""The Gaussian mixture of ``tests.benchmarks.gmm``: its posterior is known, and trainings together are as alone."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical

from dregcli.engine.draws import AddressedNoise
from dregcli.engine.randomness import Randomness, Stream
from tests.benchmarks.gmm import BATCH, Training, pair_of
from tests.support.mixture import CLUSTERS, Mixture, examples, mixture, true_joint, true_weights

K, STEPS = 4, 3
SEEDS = (3, 5)
PAIRS = ("iwae/vimco", "rws/reparam", "iwae/ovis:gamma=1")


def test_at_the_true_posterior_every_log_weight_is_log_p(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mixture, "logits", lambda _, x: true_joint(x))  # pyright: ignore
    model = mixture(SEEDS).double()
    assert isinstance(model.module, Mixture)
    with torch.no_grad():
        model.module.prior_logits.copy_(true_weights(torch.float64).log())
    randomness = Randomness(0)
    x = examples(6, randomness.generator(Stream.PIXELS)).double()
    draws = AddressedNoise(randomness, Stream.NOISE, 0, k=K, batch=len(x), width=1)
    found = model.batch(x, draws).log_weights(k_chunk=None)
    torch.testing.assert_close(found, true_joint(x).logsumexp(1).expand(K, -1), rtol=0.0, atol=1e-12)


def test_pairs_and_seeds_that_train_together_train_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the same uniform numbers, gradients and parameters after a few steps are equal."""
    uniforms = torch.rand(K, len(PAIRS), len(SEEDS) * BATCH, 1, generator=torch.Generator().manual_seed(0)).double()
    pairs = [pair_of(word, K) for word in PAIRS]

    def trained(chosen: slice, seeds: slice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the last gradients and the parameters."""
        used = uniforms[:, chosen, seeds.start * BATCH : seeds.stop * BATCH].flatten(1, 2)

        def sample(q: Categorical, _: torch.Size) -> Tensor:
            return (used[:, : len(q.logits)] > q.logits.exp().cumsum(-1)).sum(-1).clamp(max=CLUSTERS - 1)

        monkeypatch.setattr(Categorical, "sample", sample)
        training = Training(pairs[chosen], K, SEEDS[seeds])
        training.model.double()
        for step in range(STEPS):
            training.step(step)
        gradients = training.gradients(training.examples(Stream.PIXELS, 9), Stream.NOISE, STEPS)
        return gradients, {name: each.detach() for name, each in training.module.named_parameters()}

    together = trained(slice(0, len(PAIRS)), slice(0, len(SEEDS)))
    for i in range(len(PAIRS)):
        for j in range(len(SEEDS)):
            alone = trained(slice(i, i + 1), slice(j, j + 1))
            for stacked, single in zip(together, alone, strict=True):
                for name, each in single.items():
                    torch.testing.assert_close(stacked[name][i * len(SEEDS) + j], each[0], rtol=1e-10, atol=1e-12)
