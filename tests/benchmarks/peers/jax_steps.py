"""JAX's steps, each jitted as a whole: TFP's DOUBLY_REPARAMETERIZED, and one backward pass written by hand.

    PEERS_PYTHON -m tests.benchmarks.peers.jax_steps tfp --start START.npz --k 64

Runs in an interpreter of its own and imports nothing of dreg. TFP's estimator is known to weight theta's gradient by
the squared weights too, which is not the bound's gradient; its time is what counts here.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.benchmarks.peers.asked import asked_of
from tests.benchmarks.support.serve import serve

Params = dict[str, list[tuple[Any, Any]]]


def network_parameters(arrays: dict[str, np.ndarray], prefix: str) -> list[tuple[Any, Any]]:
    """Weights (I, O) and biases of linear layers, from named arrays."""
    count = sum(name.startswith(prefix) and name.endswith("weight") for name in arrays)
    return [
        (jnp.asarray(arrays[f"{prefix}{i}.weight"].T), jnp.asarray(arrays[f"{prefix}{i}.bias"])) for i in range(count)
    ]


def network(layers: list[tuple[Any, Any]], h: Any) -> Any:
    """tanh between linear layers."""
    for i, (weight, bias) in enumerate(layers):
        h = (jnp.tanh(h) if i else h) @ weight + bias
    return h


def encode(layers: list[tuple[Any, Any]], x: Any, mean: Any) -> tuple[Any, Any]:
    """The mean and scale of q."""
    loc, raw = jnp.split(network(layers, x - mean), 2, -1)
    return loc, jax.nn.softplus(raw + 0.25)


def tfp_gradient(k: int, mean: Any) -> Callable[[Params, Any, Any], tuple[Any, Params]]:
    """The loss and its gradient by TFP."""
    from tensorflow_probability.substrates import jax as tfp

    tfd = tfp.distributions

    def loss(params: Params, x: Any, key: Any) -> Any:
        loc, scale = encode(params["encoder"], x, mean)
        q = tfd.MultivariateNormalDiag(loc, scale)
        stopped = tfd.MultivariateNormalDiag(jax.lax.stop_gradient(loc), jax.lax.stop_gradient(scale))
        prior = tfd.MultivariateNormalDiag(jnp.zeros(loc.shape[-1]), jnp.ones(loc.shape[-1]))

        def log_joint(z: Any) -> Any:
            likelihood = tfd.Independent(tfd.Bernoulli(logits=network(params["decoder"], z)), 1)
            return prior.log_prob(z) + likelihood.log_prob(x)

        return tfp.vi.monte_carlo_variational_loss(
            log_joint,
            q,
            sample_size=1,
            importance_sample_size=k,
            gradient_estimator=tfp.vi.GradientEstimators.DOUBLY_REPARAMETERIZED,
            stopped_surrogate_posterior=stopped,
            seed=key,
        ).mean()

    return jax.value_and_grad(loss)


def hand_gradient(k: int, mean: Any) -> Callable[[Params, Any, Any], tuple[Any, Params]]:
    """The loss and its gradient by one backward pass: what reaches z is multiplied by the weights again."""

    def loss(decoder: Any, z: Any, x: Any, loc: Any, scale: Any) -> tuple[Any, Any]:
        logits = network(decoder, z)
        log_likelihood = (x * logits - jax.nn.softplus(logits)).sum(-1)
        log_prior = -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1)
        log_q = -0.5 * (((z - loc) / scale) ** 2 + 2 * jnp.log(scale) + math.log(2 * math.pi)).sum(-1)
        log_w = log_likelihood + log_prior - log_q
        return -(jax.nn.logsumexp(log_w, axis=0) - math.log(k)).mean(), jax.nn.softmax(log_w, axis=0)

    def gradient(params: Params, x: Any, key: Any) -> tuple[Any, Params]:
        def sample(layers: Any) -> tuple[Any, tuple[Any, Any]]:
            loc, scale = encode(layers, x, mean)
            return loc + scale * jax.random.normal(key, (k, *loc.shape)), (loc, scale)

        z, to_encoder, (loc, scale) = jax.vjp(sample, params["encoder"], has_aux=True)
        found = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params["decoder"], z, x, loc, scale)
        (value, weights), (by_decoder, by_z) = found
        (by_encoder,) = to_encoder(weights[..., None] * by_z)
        return value, {"encoder": by_encoder, "decoder": by_decoder}

    return gradient


GRADIENTS = {"tfp": tfp_gradient, "hand": hand_gradient}


def stepper(
    name: str, arrays: dict[str, np.ndarray], *, k: int, batch_size: int
) -> Callable[[int], dict[str, float]]:
    """Return a function that takes a number of steps and returns their mean bound."""
    images, levels = jnp.asarray(arrays["images"]), float(arrays["levels"])
    params = {name: network_parameters(arrays, f"{name}.") for name in ("encoder", "decoder")}
    optimizer = optax.adam(1e-3, b1=0.9, b2=0.999, eps=1e-8)
    gradient = GRADIENTS[name](k, jnp.asarray(arrays["mean"]))

    @jax.jit
    def step(params: Params, state: Any, key: Any, total: Any) -> tuple[Params, Any, Any, Any]:
        key, of_rows, of_pixels, of_noise = jax.random.split(key, 4)
        rows = images[jax.random.randint(of_rows, (batch_size,), 0, len(images))]
        x = (rows / levels > jax.random.uniform(of_pixels, rows.shape)).astype(jnp.float32)
        value, found = gradient(params, x, of_noise)
        updates, state = optimizer.update(found, state)
        return optax.apply_updates(params, updates), state, key, total - value

    carried = [params, optimizer.init(params), jax.random.PRNGKey(0)]

    def burst(steps: int) -> dict[str, float]:
        total = jnp.zeros(())
        for _ in range(steps):
            *carried[:], total = step(*carried, total)
        return {"bound": float(total) / steps}

    burst(2)  # compiled here
    return burst


def main() -> None:
    """Build, serve."""
    asked = asked_of(__doc__, GRADIENTS)
    serve(stepper(asked.step, asked.arrays, k=asked.k, batch_size=asked.batch_size), {"jax": jax.__version__})


if __name__ == "__main__":
    main()
