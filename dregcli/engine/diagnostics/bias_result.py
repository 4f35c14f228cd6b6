"""What a bias check found of one pair."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dregcli.engine.diagnostics.bias_statistics import Estimate, Evidence
from dregcli.engine.diagnostics.source import Comparison
from dregcli.engine.pairs import Pair
from dregcli.names import Promise, Verdict


@dataclass(frozen=True)
class BiasResult:
    """What was found of one pair.

    Attributes:
        comparison: the pair and its reference.
        k: samples per example.
        n: batches seen.
        promise: what the pair declares.
        verdict: biased where a test says so; unbiased where none does and a relative bias of ``detect`` would have
            been found; identical where the two estimates are the same numbers; else inconclusive.
        p_value: corrected for all comparisons, tests and looks of the call: biased is p_value <= false_alarm.
        evidence: the last look's tests; None where there was nothing to test.
        relative_bias: norm of the bias over the norm of the reference gradient, all parameters together; None where
            the gradient is lost in its noise.
        interval: of ``relative_bias``, 95 %.
        detectable: the relative bias that would have been found with probability 0.9.
        tested_share: norm of the reference gradient of the tested blocks alone over that of all. Relative to their
            own, ``relative_bias`` and ``detectable`` are larger by one over it; None where it is lost in noise.
        looks: looks taken.
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
        """What was checked."""
        return self.comparison.pair

    def as_plain(self) -> dict[str, Any]:
        """All but the comparison, as plain values."""
        return {key: value for key, value in asdict(self).items() if key != "comparison"}

    @classmethod
    def from_plain(cls, comparison: Comparison, plain: Mapping[str, Any]) -> "BiasResult":
        """What ``as_plain`` gave, with its comparison."""
        values: dict[str, Any] = dict(plain)
        values["promise"], values["verdict"] = Promise(plain["promise"]), Verdict(plain["verdict"])
        if (found := plain["evidence"]) is not None:
            evidence: dict[str, Any] = {**found, "square": Estimate(**found["square"])}
            values["evidence"] = Evidence(**evidence)
        if plain["interval"] is not None:
            values["interval"] = tuple(plain["interval"])
        return cls(comparison=comparison, **values)
