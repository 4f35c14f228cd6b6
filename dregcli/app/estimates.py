"""Importance estimates of a split, example by example, and what is told of them: always weighed by count."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dregcli.engine.diagnostics.pareto import UNRELIABLE
from dregcli.engine.likelihood_estimate import BatchEstimates

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """A mean over examples, nats per example.

    Attributes:
        value: the mean.
        stderr: its standard error over examples; None of a single one.
    """

    value: float
    stderr: float | None

    @classmethod
    def of(cls, values: Values) -> "Mean":
        """That of one number an example, shape (n,)."""
        n = len(values)
        return cls(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else None)

    def as_json(self) -> dict[str, float | None]:
        """As plain values."""
        return {"value": self.value, "stderr": self.stderr}


class Collected:
    """Arrays that grow batch by batch along their last axis, that of the examples."""

    def __init__(self, arrays: Mapping[str, Values] | None = None) -> None:
        self._parts: dict[str, list[Values]] = {name: [array] for name, array in (arrays or {}).items()}

    def add(self, found: BatchEstimates, data_log_p: Tensor | None) -> None:
        """Add a batch's."""
        tensors = {
            "curve_bound": found.bound,
            "curve_jackknife": found.jackknife,
            "repeat_ess": found.ess,
            "khat": found.khat,
            "elbo": found.elbo,
            "kl_prior": found.kl_prior,
            "means": found.means.T,
            "model_log_p": found.model_log_p,
            "data_log_p": data_log_p,
        }
        for name, tensor in tensors.items():
            if tensor is not None:
                self._parts.setdefault(name, []).append(tensor.cpu().numpy().astype(np.float64))

    def arrays(self) -> dict[str, Values]:
        """All that there is."""
        return {name: np.concatenate(parts, axis=-1) for name, parts in self._parts.items()}


@dataclass(frozen=True)
class Estimates:
    """Estimates of n examples.

    Attributes:
        ks: numbers of samples, ascending, C of them.
        arrays: by name, float64, log-densities in nats: ``curve_bound`` and ``curve_jackknife`` (C, R, n) for R
            independent draws, ``repeat_ess``, ``elbo`` and, where the largest K has a tail, ``khat`` (R, n),
            ``kl_prior`` (n,), ``means`` of q (Z, n), and the exact ``model_log_p`` and ``data_log_p`` (n,) where they
            are known.
    """

    ks: tuple[int, ...]
    arrays: Mapping[str, Values]

    @property
    def bound(self) -> Values:
        """The bound at the largest K, averaged over repeats, shape (n,)."""
        return self.arrays["curve_bound"][-1].mean(axis=0)

    @property
    def ess(self) -> Values:
        """The effective sample size at the largest K, averaged over repeats, shape (n,)."""
        return self.arrays["repeat_ess"].mean(axis=0)

    @property
    def n(self) -> int:
        """Examples."""
        return self.arrays["curve_bound"].shape[2]

    @property
    def repeats(self) -> int:
        """Independent draws."""
        return self.arrays["curve_bound"].shape[1]

    @property
    def mc_stderr(self) -> float:
        """The standard error that importance sampling alone leaves in the mean over these examples.

        By the delta method from the weights themselves: var(log p-hat) = sum v^2 - 1/K = 1/ESS - 1/K. It is as good
        as the weights: where k-hat is above 0.7 it is too small.
        """
        variance = np.maximum(1.0 / self.arrays["repeat_ess"] - 1.0 / self.ks[-1], 0.0)
        return math.sqrt(float(variance.sum())) / (self.n * self.repeats)

    def latent_variance(self) -> Values:
        """The variance over examples of q's mean, of each latent, shape (Z,)."""
        # In one layout: arrays that were kept and read again have another, and another last bit.
        return np.ascontiguousarray(self.arrays["means"]).var(axis=1)

    def active_units(self, threshold: float) -> int:
        """Latents whose mean varies more than this (arXiv 1509.00519, 5.1)."""
        return int((self.latent_variance() > threshold).sum())

    def curve(self) -> list[dict[str, Any]]:
        """Each K: the bound, its standard error over examples, its spread over repeats, and the jackknife."""
        rows: list[dict[str, Any]] = []
        for k, bound, jackknife in zip(
            self.ks, self.arrays["curve_bound"], self.arrays["curve_jackknife"], strict=True
        ):
            jvi = None if np.isnan(jackknife).all() else Mean.of(jackknife.mean(axis=0)).as_json()
            row = {"k": k, **Mean.of(bound.mean(axis=0)).as_json(), "spread": _spread(bound), "jackknife": jvi}
            rows.append(row | {"groups": self.ks[-1] // k})
        return rows

    def khat(self) -> dict[str, float] | None:
        """The median of k-hat over examples and repeats, and the share of examples above 0.7."""
        if "khat" not in self.arrays:
            return None
        found = self.arrays["khat"]
        return {"median": float(np.median(found)), f"share_above_{UNRELIABLE}": float((found > UNRELIABLE).mean())}

    def log_p(self) -> dict[str, Any]:
        """Exact log p(x), of the model and of the data's own distribution, where known, and what is missing to it."""
        found: dict[str, Any] = {}
        for whose in ("model", "data"):
            if (exact := self.arrays.get(f"{whose}_log_p")) is not None:
                found[whose] = {**Mean.of(exact).as_json(), "bound_less_exact": Mean.of(self.bound - exact).as_json()}
        return found

    def as_json(self, *, active_threshold: float) -> dict[str, Any]:
        """All of it as plain values."""
        elbo, kl = self.arrays["elbo"].mean(axis=0), self.arrays["kl_prior"]
        return {
            "n": self.n,
            "k": self.ks[-1],
            "repeats": self.repeats,
            "bound": {**Mean.of(self.bound).as_json(), "mc_stderr": self.mc_stderr},
            "spread": _spread(self.arrays["curve_bound"][-1]),
            "curve": self.curve(),
            "ess": float(self.ess.mean()),
            "khat": self.khat(),
            "elbo": Mean.of(elbo).as_json(),
            "reconstruction": Mean.of(elbo + kl).as_json(),
            "kl_prior": Mean.of(kl).as_json(),
            "kl_posterior": Mean.of(self.bound - elbo).as_json(),
            "active_units": self.active_units(active_threshold),
            "active_threshold": active_threshold,
            "log_p": self.log_p(),
        }


def _spread(values: Values) -> float | None:
    """The standard deviation over repeats of the mean over examples, of (R, n); None of one repeat."""
    return float(values.mean(axis=1).std(ddof=1)) if len(values) > 1 else None
