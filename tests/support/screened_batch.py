"""One batch, the rows of it that are kept, and all executions: the same for all tests that compare executions."""

from functools import cache

import torch
from torch import Tensor

from dregcli.engine.draws import Noise
from dregcli.engine.execution import Execution
from dregcli.engine.execution.gaussian_batch import GaussianBatch
from dregcli.engine.models.structured import StructuredVae
from dregcli.engine.models.vae import Vae
from dregcli.names import Backward, Precision
from tests.support.exact import MODELS, small_batch
from tests.support.screening import Prescribed

K, B = 40, 4
CHOSEN = torch.tensor([False, True, False, True])
_UNIFORM = torch.rand(K, B, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

EXECUTIONS = {
    "dense": Execution(),
    "dense in chunks": Execution(k_chunk=16),
    "screened": Execution(Backward.SCREENED),
    "screened in chunks": Execution(Backward.SCREENED, k_chunk=16),
    "screened in bfloat16": Execution(Backward.SCREENED, precision=Precision.BFLOAT16),
    "screened in bfloat16, in chunks": Execution(Backward.SCREENED, precision=Precision.BFLOAT16, k_chunk=16),
}


@cache
def subject(name: str) -> tuple[Vae | StructuredVae, Tensor, Tensor]:
    """A model by its name, pixels and noise."""
    model = MODELS[name].build()
    return model, *small_batch(model, k=K, batch=B)


def drawn(noise: Tensor) -> Prescribed:
    """The rows that are kept, by the same uniform numbers in every executor; two examples are chosen."""
    return Prescribed(noise, lambda probability: probability > _UNIFORM, CHOSEN)


def batch_of(name: str, draws: Noise | None = None) -> GaussianBatch:
    """The batch of a model."""
    model, pixels, noise = subject(name)
    return GaussianBatch(model, pixels, model.posterior(pixels).stopped(), draws or drawn(noise))
