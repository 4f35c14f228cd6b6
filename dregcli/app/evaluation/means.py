"""Means over examples, with their standard errors."""

import math
from dataclasses import dataclass

from dregcli.app.evaluation.chance import Values


@dataclass(frozen=True)
class Mean:
    """A mean over examples, nats per example.

    Attributes:
        value: the mean.
        stderr: standard error of the mean over examples; None for a single example, or if the mean is not finite.
    """

    value: float
    stderr: float | None

    @classmethod
    def of(cls, values: Values) -> "Mean":
        """Return the mean of one number per example, shape (n,)."""
        n, mean = len(values), float(values.mean())
        return cls(mean, float(values.std(ddof=1)) / math.sqrt(n) if n > 1 and math.isfinite(mean) else None)

    def as_json(self) -> dict[str, float | None]:
        """Return plain values."""
        return {"value": self.value, "stderr": self.stderr}
