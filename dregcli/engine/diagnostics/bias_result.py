"""The result of a bias check for one pair."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dregcli.engine.diagnostics.bias_statistics import Estimate, Evidence
from dregcli.engine.diagnostics.references import Comparison
from dregcli.engine.pairs import Pair
from dregcli.names import Promise, Verdict


@dataclass(frozen=True)
class BiasResult:
    """The result of a bias check for one pair.

    Attributes:
        comparison: the pair and its reference.
        k: samples per example.
        n: number of batches used.
        promise: promise that the pair declares.
        verdict: 'biased' if a test finds a bias; 'unbiased' if no test does and a relative bias of ``detect`` would
            have been found; 'identical' if the two estimates are the same numbers; otherwise 'inconclusive'.
        p_value: p-value, corrected for all comparisons, tests and looks of the call; 'biased' means p_value <=
            false_alarm.
        evidence: tests of the last look; None if there was nothing to test.
        relative_bias: norm of the bias divided by the norm of the reference gradient, over all parameters; None if
            the gradient cannot be distinguished from its noise.
        interval: 95 % interval of ``relative_bias``.
        detectable: relative bias that would have been found with probability 0.9.
        tested_share: norm of the reference gradient over the tested blocks divided by its norm over all blocks.
            See ``to_tested``. None if it cannot be distinguished from noise.
        looks: number of looks.
    """

    comparison: Comparison
    k: int
    n: int
    promise: Promise
    verdict: Verdict
    p_value: float
    evidence: Evidence | None
    relative_bias: float | None
    interval: tuple[float, float] | None
    detectable: float | None
    tested_share: float | None
    looks: int

    @property
    def pair(self) -> Pair:
        """The checked pair."""
        return self.comparison.pair

    def to_tested(self, relative: float) -> float | None:
        """Convert a size relative to the whole gradient to one relative to the gradient of the tested blocks."""
        return relative / self.tested_share if self.tested_share else None

    def as_plain(self) -> dict[str, Any]:
        """Return everything except the comparison, as plain values."""
        return {key: value for key, value in asdict(self).items() if key != "comparison"}

    @classmethod
    def from_plain(cls, comparison: Comparison, plain: Mapping[str, Any]) -> "BiasResult":
        """Build a result from ``as_plain``'s values and its comparison."""
        values: dict[str, Any] = dict(plain)
        values["promise"], values["verdict"] = Promise(plain["promise"]), Verdict(plain["verdict"])
        if (found := plain["evidence"]) is not None:
            evidence: dict[str, Any] = {**found, "square": Estimate(**found["square"])}
            values["evidence"] = Evidence(**evidence)
        if plain["interval"] is not None:
            values["interval"] = tuple(plain["interval"])
        return cls(comparison=comparison, **values)
