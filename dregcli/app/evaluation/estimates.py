"""Keep importance estimates of a split for each example, and summarise them as means over examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from dregcli.app.evaluation.chance import FIRST_K, Bias, Chance, Values, bias_of, chance_of
from dregcli.app.evaluation.layers import LayerEstimate
from dregcli.app.evaluation.means import Mean
from dregcli.engine.diagnostics.pareto import UNRELIABLE
from dregcli.engine.likelihood_estimate import BatchEstimates
from dregcli.engine.models.base import Layer
from dregcli.specs.number_lists import MOST_SAMPLES

KL_ERROR = 0.1
"""Largest share of KL(q || posterior) that its estimate may lack and still be shown."""

_NOT_SEEN = 0.005
"""Nats that are not visible with the two decimal places of the table."""


class Collected:
    """Arrays that grow batch by batch along their last axis, the axis of the examples."""

    def __init__(self, arrays: Mapping[str, Values] | None = None) -> None:
        self._parts: dict[str, list[Values]] = {name: [array] for name, array in (arrays or {}).items()}

    def add(self, found: BatchEstimates, data_log_p: Tensor | None) -> None:
        """Add the estimates of a batch."""
        tensors = {
            "curve_bound": found.bound,
            "curve_jackknife": found.jackknife,
            "curve_squares": found.squares,
            "left_out_variance": found.left_out,
            "rises": found.rises,
            "repeat_ess": found.ess,
            "khat": found.khat,
            "elbo": found.elbo,
            "kl_prior": found.kl_prior,
            "kl_prior_sampled": found.kl_prior_sampled,
            "kl_layers": found.kl_layers,
            "means": None if found.means is None else found.means.T,
            "model_log_p": found.model_log_p,
            "data_log_p": data_log_p,
        }
        for name, tensor in tensors.items():
            if tensor is not None:
                self._parts.setdefault(name, []).append(tensor.cpu().numpy().astype(np.float64))

    def arrays(self) -> dict[str, Values]:
        """Return all arrays, by name."""
        return {name: np.concatenate(parts, axis=-1) for name, parts in self._parts.items()}


@dataclass(frozen=True)
class Estimates:
    """Estimates of n examples.

    Attributes:
        ks: numbers of samples, ascending, C of them.
        arrays: arrays by name, float64, log-densities in nats: ``curve_bound``, ``curve_jackknife`` and
            ``curve_squares`` (C, R, n) for R independent draws; ``rises`` (3, R, n) if the largest K is at least 8;
            ``repeat_ess``, ``left_out_variance``, ``elbo`` and, if the largest K has a tail, ``khat`` (R, n); without
            ``rises``, ``left_out_variance`` and ``khat`` if samples depend on each other;
            the exact ``kl_prior`` (n,), or ``kl_prior_sampled`` (R, n), its mean over the draws; with several layers
            also ``kl_layers`` (R or 1, L, n), whose sum over layers it is; ``means`` of q (Z, n), the exact
            ``model_log_p`` and ``data_log_p`` (n,) if known.
        no_means: the reason why q has no known means; None if it has.
        model_layers: layers of the model, the layer nearest to x first.
    """

    ks: tuple[int, ...]
    arrays: Mapping[str, Values]
    no_means: str | None = None
    model_layers: Sequence[Layer] = ()

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
        """Number of examples."""
        return self.arrays["curve_bound"].shape[2]

    @property
    def repeats(self) -> int:
        """Number of independent draws."""
        return self.arrays["curve_bound"].shape[1]

    @property
    def chance(self) -> Chance:
        """The random error of the mean of bounds at the largest K, from one draw of samples to the next."""
        return self._chance(len(self.ks) - 1)

    def _chance(self, i: int) -> Chance:
        """Return ``chance`` at the i-th K of the curve."""
        is_last = i == len(self.ks) - 1
        return chance_of(
            self.arrays["curve_bound"][i],
            self.arrays["curve_squares"][i],
            self.ks[-1] // self.ks[i],
            self.arrays.get("left_out_variance") if is_last else None,
            self.arrays["repeat_ess"],
        )

    @property
    def bias(self) -> Bias | None:
        """The approximate bias of the mean bound at the largest K, compared with log p(x).

        None below K = 8, and if the bound of an example is not finite at one of the last doublings of K.
        """
        return bias_of(self.arrays.get("rises"))

    @property
    def not_finite(self) -> int:
        """Number of examples whose bound at the largest K is not a finite number."""
        return int((~np.isfinite(self.bound)).sum())

    def kl_posterior(self) -> Mean | None:
        """Return the bound minus the ELBO, an estimate of KL(q || posterior) if the bound is near log p(x).

        Return None if the bound is not near log p(x): at K = 1, where the difference is 0 for any q, and as long as
        the bound still rises with K.
        """
        if (bias := self.bias) is None:
            return None
        found = self._above_elbo()
        return found if -bias.value <= self._kl_error(found) else None

    def k_for_kl(self) -> int | None:
        """Return the approximate K from which on there is a ``kl_posterior``; None if it cannot be reached."""
        return self.k_for(_NOT_SEEN if self.bias is None else self._kl_error(self._above_elbo()))

    def k_for(self, allowed: float) -> int | None:
        """Return the approximate K with which the bias is at most ``allowed`` nats; ``allowed`` is above 0.

        None if no evaluation can have so many samples.
        """
        if (bias := self.bias) is not None:
            return bias.k_for(self.ks[-1], allowed)
        if "rises" not in self.arrays:
            return FIRST_K
        # A bound of an eighth of the samples is not finite: then let an eighth be as many as all are now.
        return 8 * self.ks[-1] if 8 * self.ks[-1] <= MOST_SAMPLES else None

    def _above_elbo(self) -> Mean:
        return Mean.of(self.bound - self.arrays["elbo"].mean(axis=0))

    def _bias_value(self) -> float | None:
        return bias.value if (bias := self.bias) else None

    def _kl_error(self, found: Mean) -> float:
        return KL_ERROR * max(found.value, 0.0) + _NOT_SEEN

    @property
    def kl_prior(self) -> Values:
        """KL(q || prior), averaged over repeats if it is a mean over the draws, shape (n,), nats."""
        exact = self.arrays.get("kl_prior")
        return self.arrays["kl_prior_sampled"].mean(axis=0) if exact is None else exact

    @property
    def no_active_units(self) -> str | None:
        """The reason why it is not known which units are active; None if it is."""
        return self.no_means or ("a single example has no variance over examples" if self.n < 2 else None)

    def latent_variance(self) -> Values | None:
        """Return the variance over examples of q's mean, for each latent, shape (Z,); None if it is not known."""
        if self.no_active_units is not None:
            return None
        # Use one memory layout: arrays that were saved and read again have another one, which changes the last bit.
        return np.ascontiguousarray(self.arrays["means"]).var(axis=1)

    def active_units(self, threshold: float) -> int | None:
        """Return the number of latents whose mean has a variance above ``threshold`` (arXiv 1509.00519, 5.1)."""
        variance = self.latent_variance()
        return None if variance is None else int((variance > threshold).sum())

    def layers(self, threshold: float) -> list[LayerEstimate]:
        """Return what is known of each layer, the layer nearest to x first; empty for a model with one layer.

        Args:
            threshold: variance of a unit's mean above which the unit is active.
        """
        if "kl_layers" not in self.arrays:
            return []
        variance, found = self.latent_variance(), list[LayerEstimate]()
        for layer, kl in zip(self.model_layers, self.arrays["kl_layers"].mean(axis=0), strict=True):
            of = None if variance is None else variance[layer.columns.start : layer.columns.stop]
            inactive = None if of is None else tuple(np.flatnonzero(~(of > threshold)).tolist())
            found.append(LayerEstimate(layer, Mean.of(kl), inactive))
        return found

    def curve(self) -> list[dict[str, Any]]:
        """Return for each K: the bound, its standard error over examples, its random error, and the jackknife."""
        rows: list[dict[str, Any]] = []
        for i, (k, bound, jackknife) in enumerate(
            zip(self.ks, self.arrays["curve_bound"], self.arrays["curve_jackknife"], strict=True)
        ):
            jvi = None if np.isnan(jackknife).any() else Mean.of(jackknife.mean(axis=0)).as_json()
            row = {"k": k, **Mean.of(bound.mean(axis=0)).as_json(), **self._chance(i).as_json()}
            rows.append(row | {"spread": _spread(bound), "jackknife": jvi, "groups": self.ks[-1] // k})
        return rows

    def khat(self) -> dict[str, float] | None:
        """Return the median of k-hat over examples and repeats, and the share of examples above 0.7."""
        if "khat" not in self.arrays:
            return None
        found = self.arrays["khat"]
        return {"median": float(np.median(found)), f"share_above_{UNRELIABLE}": float((found > UNRELIABLE).mean())}

    def log_p(self) -> dict[str, Any]:
        """Return exact log p(x) under the model and under the data's distribution, if known, and the bound's gap."""
        found: dict[str, Any] = {}
        for whose in ("model", "data"):
            if (exact := self.arrays.get(f"{whose}_log_p")) is not None:
                found[whose] = {**Mean.of(exact).as_json(), "bound_less_exact": Mean.of(self.bound - exact).as_json()}
        return found

    @np.errstate(invalid="ignore")  # differences of infinite numbers, which ``not_finite`` counts
    def as_json(self, *, active_threshold: float) -> dict[str, Any]:
        """Return all estimates as plain values."""
        elbo, kl = self.arrays["elbo"].mean(axis=0), self.kl_prior
        kl_posterior, layers = self.kl_posterior(), self.layers(active_threshold)
        return {
            "n": self.n,
            "k": self.ks[-1],
            "repeats": self.repeats,
            "bound": {**Mean.of(self.bound).as_json(), **self.chance.as_json(), "bias": self._bias_value()},
            **({"not_finite": self.not_finite} if self.not_finite else {}),
            "spread": _spread(self.arrays["curve_bound"][-1]),
            "curve": self.curve(),
            "ess": float(self.ess.mean()),
            "khat": self.khat(),
            "elbo": Mean.of(elbo).as_json(),
            "reconstruction": Mean.of(elbo + kl).as_json(),
            "kl_prior": Mean.of(kl).as_json(),
            **({"kl_prior_sampled": True} if "kl_prior_sampled" in self.arrays else {}),
            "kl_posterior": None if kl_posterior is None else kl_posterior.as_json(),
            "active_units": self.active_units(active_threshold),
            **({"no_active_units": self.no_active_units} if self.no_active_units else {}),
            "active_threshold": active_threshold,
            **({"layers": [each.as_json() for each in layers]} if layers else {}),
            "log_p": self.log_p(),
        }


def _spread(values: Values) -> float | None:
    """Return the standard deviation over repeats of the mean over examples, for (R, n) values; None if R = 1."""
    return float(values.mean(axis=1).std(ddof=1)) if len(values) > 1 else None
