"""Build engine objects from a spec and its data: the model needs only the ``ModelData``, the trainer the data set."""

from collections.abc import Callable
from typing import Any, Final

from dregcli.app.common.ranks import shared
from dregcli.app.models.code import Code
from dregcli.app.models.find import find_code
from dregcli.app.models.make import arguments_of, make_model
from dregcli.app.planning.executing import execution_of
from dregcli.app.planning.optimising import optimisation_of
from dregcli.app.planning.run_data import RunData
from dregcli.app.planning.tracked import tracked_pairs
from dregcli.devices import DeviceKind, kind_of
from dregcli.engine.captured import record_graph
from dregcli.engine.likelihoods import LIKELIHOODS, make_likelihood
from dregcli.engine.models.base import Model
from dregcli.engine.models.linear_gaussian import LinearGaussian
from dregcli.engine.models.structured import StructuredVae, image_parts
from dregcli.engine.models.vae import Vae
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.training import Trainer
from dregcli.engine.words import parse_scheduled
from dregcli.names import ModelName, Split, Task
from dregcli.posteriors import Family
from dregcli.specs.models import is_network
from dregcli.specs.run import RunSpec


def build_model(spec: RunSpec, data: ModelData, code: Code | None = None) -> Model:
    """Return the run's model before its first step, compiled if the spec says so.

    Weights are drawn on the CPU, so that they are the same on every device.

    Args:
        spec: spec of the run.
        data: what the model knows of its data: from the data set (``RunData.model_data``), or as the run stores it.
        code: code of the model, for every model that is no built-in network: of a new run ``Plan.code``, of an
            earlier run what ``dregcli.app.models.trust.code_of_run`` returns.

    Raises:
        ModelFailed: the code raises an error.
        SpecError: the programs of the model do not fit the contract.
    """
    if is_network(spec.model):
        model = _NETWORKS[ModelName(spec.model)](spec, data)
    else:
        assert code is not None, f"{spec.model} needs its code"
        model = make_model(code, data, arguments_of(spec), seed=spec.seed)
    model = model.to(spec.device)
    if spec.compile == "on":
        model.fuse()
    return model


def _vae(spec: RunSpec, data: ModelData) -> Model:
    """Return a model with tanh networks, for whole images or for one part of an image given the other."""
    if spec.posterior != Family.DIAGONAL:
        return _one_layer(spec, data)
    assert spec.likelihood is not None
    mean, spread = data.mean.flatten(), data.spread.flatten()
    networks: Any = {
        "hidden": spec.hidden,
        "latent_dim": spec.latent_dim,
        "generator": Randomness(spec.seed).generator(Stream.INITIALISATION),
        "spread": spread if LIKELIHOODS[spec.likelihood].standardises else None,
    }
    if spec.task is Task.GENERATIVE:
        return Vae(mean, likelihood=make_likelihood(spec.likelihood, spread=spread, levels=data.levels), **networks)
    # The context is the top half of every channel; the smaller part if the number of rows is odd.
    channels, height, width = data.shape
    top = channels * (height // 2) * width
    crossed = spec.task is Task.STRUCTURED_REFERENCE
    target = spread[image_parts(len(mean), context=top, channels=channels, crossed=crossed).target]
    likelihood = make_likelihood(spec.likelihood, spread=target, levels=data.levels)
    return StructuredVae(mean, context=top, channels=channels, likelihood=likelihood, crossed=crossed, **networks)


def _one_layer(spec: RunSpec, data: ModelData) -> Model:
    """Return the VAE as a hierarchical model of one layer, which has every family of posteriors."""
    settings = {"likelihood": spec.likelihood, "posterior": spec.posterior}
    layers = {"latent_dim": (spec.latent_dim,), "hidden": (spec.hidden,)}
    return make_model(find_code("hierarchical"), data, {**settings, **layers}, seed=spec.seed)


def _linear_gaussian(spec: RunSpec, data: ModelData) -> Model:
    assert isinstance(spec.latent_dim, int)
    return LinearGaussian(
        data.mean.flatten(),
        latent_dim=spec.latent_dim,
        generator=Randomness(spec.seed).generator(Stream.INITIALISATION),
        spread=data.spread.flatten(),
    )


_NETWORKS: Final[dict[ModelName, Callable[[RunSpec, ModelData], Model]]] = {
    ModelName.VAE: _vae,
    ModelName.LINEAR_GAUSSIAN: _linear_gaussian,
}


def build_trainer(spec: RunSpec, data: RunData, code: Code | None = None) -> Trainer:
    """Return the run's trainer before its first step; if the run has a parent, theta is frozen.

    For ``code`` see ``build_model``.
    """
    objective = parse_scheduled(spec.objective)
    return Trainer(
        build_model(spec, data.model_data, code),
        resolve_pair(objective.start, spec.estimator, spec.k),
        data.examples(Split.TRAIN),
        data.pixels,
        k=spec.k,
        batch_size=spec.batch_size,
        lr=spec.lr,
        seed=spec.seed,
        objective=objective,
        optimisation=optimisation_of(spec),
        train_model=spec.parent is None,
        execution=shared(execution_of(spec), spec.shard, device=spec.device, k=spec.k, batch_size=spec.batch_size),
        prior_gradient=spec.prior_gradient,
        noise=spec.noise,
        tracked=tracked_pairs(spec),
        record=record_graph if kind_of(spec.device) == DeviceKind.CUDA else None,
    )
