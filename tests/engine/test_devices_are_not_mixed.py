"""Every tensor of a run is where the model is: on a pretend GPU, torch refuses an operation on two devices."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError

from dregcli.engine import sampling, wide
from dregcli.engine.evaluation import evaluate, seen_batches
from dregcli.engine.examples import ResidentExamples
from dregcli.engine.execution import Execution
from dregcli.engine.models.base import GaussianModel, Model
from dregcli.engine.models.linear_gaussian import LinearGaussian
from dregcli.engine.optimisation import Optimisation, parse_optimizer
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.pixels import AsStored, Dynamic
from dregcli.engine.programs.contract import Draw, ModelData
from dregcli.engine.programs.hierarchical import HierarchicalVae
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.training import Trainer
from dregcli.names import (
    Backward,
    EvalNoise,
    PosteriorOrder,
    Precision,
    PriorGradient,
    SampleNoise,
    Split,
    TopPrior,
)
from tests.engine.test_captured import call_again
from tests.support.exact import MODELS, small_vae
from tests.support.pretend_gpu import MixedDevices, NoFloat64, pretend
from tests.support.program_zoo import PATHS, SCORES, SmallModel, made
from tests.support.sweep import swept

K, BATCH = 18, 3
SCREENED = Execution(Backward.SCREENED)
HALF = Execution(Backward.SCREENED, precision=Precision.BFLOAT16)
WAYS: dict[str, dict[str, Any]] = {
    "dense": {"execution": Execution()},
    "dense, in chunks": {"execution": Execution(k_chunk=16)},
    "screened and padded": {"execution": SCREENED},
    "screened in bfloat16, in chunks": {"execution": replace(HALF, k_chunk=16)},
    "recorded": {"execution": HALF, "record": call_again},
}


def _linear() -> LinearGaussian:
    generator = Randomness(0).generator(Stream.INITIALISATION)
    return LinearGaussian(torch.linspace(0.1, 0.9, 12), spread=torch.ones(12), latent_dim=2, generator=generator)


def _hierarchy(**settings: Any) -> Callable[[], ProgramModel]:
    sizes: dict[str, Any] = {"latent_dim": (3, 2), "hidden": ((5,), (4,)), **settings}
    return lambda: made(lambda data: HierarchicalVae(data, **sizes))


BUILT_IN: dict[str, Callable[[], Model]] = {
    **{name: case.build for name, case in MODELS.items()},
    "linear-gaussian": _linear,
    **{name: PATHS[name] for name in ("conv, binary", "conv, intensities", "conv, real colours")},
    "hierarchical": _hierarchy(),
    "hierarchical, top-down": _hierarchy(posterior_order=PosteriorOrder.TOP_DOWN, top_prior=TopPrior.LEARNED),
    "full": _hierarchy(posterior="full", latent_dim=(3,), hidden=((5,),)),
    "bits on bits": SCORES["bits on bits"],
}
OWN = {name: (PATHS | SCORES)[name] for name in ("student", "three draws", "discrete and continuous", "von Mises")}
EVERY = BUILT_IN | OWN
TURNS = [
    *((name, list(WAYS)[i % len(WAYS)]) for i, name in enumerate(EVERY)),
    *(("vae", way) for way in WAYS if way != "dense"),
]
"""Each model in one way of work, in turns, and one of them in every way."""
WITHOUT_FLOAT64 = [
    *((name, "dense, in chunks") for name in ("vae", "structured-gaussian", "linear-gaussian", "hierarchical")),
    ("discrete and continuous", "dense"),
]


def _examples(model: Model, device: torch.device) -> ResidentExamples:
    shape = model.data.shape if isinstance(model, ProgramModel) else model.mean.shape
    return ResidentExamples(torch.ones(7, torch.Size(shape).numel(), device=device))


def step(model: Model, device: torch.device, *, word: str = "iwae/dreg", **settings: Any) -> Trainer:
    """A trainer after one step, or after the recording of one."""
    objective, _, estimator = word.partition("/")
    examples = _examples(model, device)
    pixels = settings.pop("pixels", AsStored(1))
    found = Trainer(
        model,
        resolve_pair(objective, estimator, K),
        examples,
        pixels,
        **{"k": K, "batch_size": BATCH, "lr": 0.1, "seed": 1, **settings},
    )
    if "record" in settings:
        found.warm_up()
    else:
        found.advance()
        found.row()
    return found


def word_of(name: str) -> str:
    return "iwae/vimco" if name in SCORES else "iwae/dreg"


@swept("name, way", TURNS)
def test_a_step(name: str, way: str) -> None:
    with pretend() as device:
        step(EVERY[name]().to(device), device, word=word_of(name), **WAYS[way])


@swept("name, way", WITHOUT_FLOAT64)
def test_a_step_on_a_gpu_without_float64(name: str, way: str) -> None:
    with pretend(float64=False) as device:
        step(EVERY[name]().to(device), device, word=word_of(name), **WAYS[way])


SETTINGS: dict[str, dict[str, Any]] = {
    "tracked, with a learned estimator": {"word": "iwae/dreg-cv", "tracked": [resolve_pair("rws", "dreg", K)]},
    "fitted": {"word": "tvo:schedule=moments/dreg"},
    "dreams": {"word": "rws:sleep=0.5/dreg"},
    "antithetic, clipped, averaged, drawn pixels": {
        "noise": SampleNoise.ANTITHETIC,
        "optimisation": Optimisation(grad_clip=1.0, ema=0.9, steps=9),
        "pixels": Dynamic(1),
    },
    "another optimizer, warm-up of the KL part": {
        "optimisation": Optimisation(optimizer=parse_optimizer("rmsprop"), kl_warmup=5, steps=9)
    },
    "path of the prior": {"name": "structured", "prior_gradient": PriorGradient.BLEND},
    "path of the priors of a program": {
        "name": "hierarchical, top-down",
        "prior_gradient": PriorGradient.GDREG,
        "execution": HALF,
    },
}


@swept("case, float64", [(case, float64) for case in SETTINGS for float64 in (True, False)])
def test_what_else_a_step_does(case: str, float64: bool) -> None:
    settings = dict(SETTINGS[case])
    if not float64 and "execution" in settings:
        settings["execution"] = Execution()
    with pretend(float64=float64) as device:
        step(EVERY[settings.pop("name", "vae")]().to(device), device, **settings)


def used(model: Model, device: torch.device, *, float64: bool = True) -> None:
    """Evaluate a trained model, and look at its images."""
    examples, numbers = _examples(model, device), Randomness(0, device)
    for _ in evaluate(model, examples, AsStored(1), split=Split.TEST, k=K, seed=0, k_chunk=16):
        pass
    # Sobol points of a GPU without float64 are refused with the other options of a request.
    others = (
        {EvalNoise.ANTITHETIC, *([EvalNoise.SOBOL] if float64 else [])} if isinstance(model, GaussianModel) else {}
    )
    for noise in (EvalNoise.IID, *others):
        for batch in seen_batches(model, examples, AsStored(1), split=Split.TEST, seed=0, noise=noise):
            if noise is not EvalNoise.IID:
                batch.log_weights(k=K, k_chunk=None)
            batch.means()
            batch.kl_prior()
    sampling.prior_images(model, examples.stored[:1], numbers, k=3)
    sampling.best_of_k(model, examples.stored, numbers, k=3)
    if not model.no_means:
        sampling.latent_variances(model, iter([examples.stored]), split=Split.TEST, seed=0)
    if not model.no_traversals:
        sampling.traversals(model, examples.stored[:1], list(model.coordinates())[:2], [-1.0, 1.0])


@swept(
    "name, float64",
    [
        *((name, float64) for name in ("structured-gaussian", "hierarchical") for float64 in (True, False)),
        ("linear-gaussian", False),
        ("conv, intensities", True),
        ("discrete and continuous", True),
    ],
)
def test_evaluations_and_images(name: str, float64: bool) -> None:
    with pretend(float64=float64) as device:
        used(EVERY[name]().to(device), device, float64=float64)


class Forgetful(SmallModel):
    """The wrong twin: a constant that does not move with the model."""

    def __init__(self, data: ModelData) -> None:
        super().__init__(data, "normal")
        self.scale = torch.ones(data.shape)

    def posterior(self, x: Tensor, draw: Draw) -> None:
        super().posterior(x * self.scale, draw)


def test_a_constant_that_stays_behind_is_seen() -> None:
    with pretend() as device:
        model = made(Forgetful).to(device)
        with pytest.raises(FakeTensorDeviceMismatchError):
            step(model, device)
        with pytest.raises(FakeTensorDeviceMismatchError):
            used(model, device)


def test_a_gradient_that_begins_elsewhere_is_seen() -> None:
    with pretend() as device:
        x = torch.ones(3, device=device, requires_grad=True)
        with pytest.raises(MixedDevices):
            torch.autograd.grad(x.exp(), x, torch.ones(3))


def test_float64_on_a_gpu_without_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretend(float64=False) as device:
        monkeypatch.setattr(wide, "WITHOUT", set[str]())
        with pytest.raises(NoFloat64):
            step(small_vae().to(device), device)
