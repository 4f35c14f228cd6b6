"""The batch that is checked before a training is the batch of its first step."""

import torch

from dregcli.engine.checks.first_batch import first_batch
from dregcli.engine.examples import ResidentExamples
from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.pixels import Dynamic
from dregcli.engine.training import Trainer


def test_it_is_the_batch_of_the_first_step() -> None:
    stored = torch.randint(0, 17, (37, 9), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    examples, pixels = ResidentExamples(stored), Dynamic(16)
    model = Vae(torch.full((9,), 0.5), hidden=(4,), latent_dim=2, generator=torch.Generator())
    trainer = Trainer(model, resolve_pair("iwae", "dreg", 3), examples, pixels, k=3, batch_size=10, lr=0.01, seed=4)
    numbers, found = first_batch(examples, pixels, size=10, seed=4)
    assert numbers == trainer._batches.indices(0).tolist()
    assert torch.equal(found, trainer._drawn()[0])
