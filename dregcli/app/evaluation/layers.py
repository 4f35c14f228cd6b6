"""What an evaluation shows of each layer of a model with several layers."""

from dataclasses import dataclass
from typing import Any, Final

from dregcli.app.evaluation.means import Mean
from dregcli.engine.models.base import Layer

COLLAPSED_KL: Final = 0.1
"""KL in nats per example below which a layer stores almost nothing about an example."""


@dataclass(frozen=True)
class LayerEstimate:
    """One layer over some examples.

    Attributes:
        layer: the layer of the model.
        kl: mean of log q(z_l | what it is drawn from) - log p(z_l | the layers above), nats per example.
        inactive: indices of the units whose mean under q hardly varies over examples, given one draw of the latents
            that it depends on (arXiv 1509.00519, 5.1); None if q has no known means, or of a single example.
    """

    layer: Layer
    kl: Mean
    inactive: tuple[int, ...] | None

    @property
    def units(self) -> int:
        """How many numbers the layer has."""
        return len(self.layer.columns)

    @property
    def active_units(self) -> int | None:
        """Number of units whose mean under q varies over examples; None if it is not known."""
        return None if self.inactive is None else self.units - len(self.inactive)

    @property
    def collapsed(self) -> bool:
        """Whether q is almost the prior, so that the layer stores almost nothing about an example.

        If ``kl`` is a KL divergence, it decides alone: the means of a layer whose q equals its prior given the layers
        above may still vary, as those layers do. Otherwise it may be near 0 by chance, and no unit may be active.
        """
        return abs(self.kl.value) < COLLAPSED_KL and (self.layer.is_kl or self.active_units == 0)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.layer.name,
            "units": self.units,
            "kl_prior": self.kl.as_json(),
            "is_kl": self.layer.is_kl,
            "active_units": self.active_units,
            "inactive": None if self.inactive is None else list(self.inactive),
            "collapsed": self.collapsed,
        }
