"""The result of ``dreg advise``: what was measured, what is advised, and the command to type."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dregcli.app.diagnosis.advice import AtK, Choice
from dregcli.app.diagnosis.advice_measured import Bounds, Candidate, Estimate, Ratio
from dregcli.app.planning.words import last_objective
from dregcli.engine.words import word_of
from dregcli.parts import shown_word
from dregcli.specs.run import RunSpec
from dregcli.store.run import Run


@dataclass(frozen=True)
class AdviceReport:
    """An advice.

    Attributes:
        run: the run of the model.
        checkpoint: step of the model's parameters.
        spec: spec of the run.
        choice: the pair to use.
        k: the number of samples to use.
        at: what the other numbers of samples would change.
        bounds: bounds of validation examples.
        others: the best pair of each other objective that was measured.
        replicates: number of replicates at each K.
        seed: seed of the measurement.
        seconds: time of the measurement.
        next: the command to type.
        milliseconds: time of a step by the advised pair at the present K, timed in turn with the other K.
    """

    run: Run
    checkpoint: int
    spec: RunSpec
    choice: Choice
    k: int
    at: tuple[AtK, ...]
    bounds: Bounds
    others: tuple[Candidate, ...]
    replicates: int
    seed: int
    seconds: float
    next: str
    milliseconds: Estimate | None

    @property
    def own(self) -> str:
        """The pair of the run's last step as people read it."""
        return shown_word(f"{word_of(last_objective(self.spec))}/{self.spec.estimator}")

    def as_json(self) -> dict[str, Any]:
        """Return the report in the form of ``dreg advise --json``."""
        use, bounds = self.choice.use, self.bounds
        return {
            "run": str(self.run.path),
            "checkpoint": self.checkpoint,
            "advice": {
                "objective": use.objective,
                "estimator": use.estimator,
                "k": self.k,
                "biased": self.choice.is_biased,
                "undecided": [each.label for each in self.choice.undecided],
                "biased_but_better": [each.label for each in self.choice.beyond],
                "next": self.next,
            },
            "k": use.k,
            "replicates": self.replicates,
            "seed": self.seed,
            "batch_size": self.spec.batch_size,
            "pairs": [_pair(each, ratio) for each, ratio in self.choice.compared],
            "other_k": [_at(each) for each in self.at],
            "bounds": {
                "n": len(bounds.elbo),
                "curve": [{"k": k, "value": math.fsum(each) / len(each)} for k, each in bounds.by_k.items()],
                "distance": vars(bounds.distance),
                "ess": vars(bounds.ess),
                "rise_per_doubling": _estimate(bounds.rise),
                "khat": {"median": bounds.khat, "share_above_0.7": bounds.khat_high}
                if bounds.khat_high is not None
                else None,
            },
            "other_objectives": [_pair(each, None) for each in self.others],
            "seconds": self.seconds,
        }


def _pair(each: Candidate, ratio: Ratio | None) -> dict[str, Any]:
    return {
        "objective": each.objective,
        "estimator": each.estimator,
        "biased": each.is_biased,
        "promise": "unbiased" if each.promises else "biased",
        "follows": each.follows,
        "relative_bias": _estimate(each.relative_bias),
        "variance": {"value": each.encoder.variance.value, "stderr": each.encoder.variance.stderr},
        "squared_snr": _estimate(each.encoder.squared_snr),
        "milliseconds": _estimate(each.milliseconds),
        "per_second_to_advised": _ratio(ratio),
        "refusal": each.refusal,
    }


def _at(each: AtK) -> dict[str, Any]:
    return {
        "k": each.k,
        "gain": vars(each.gain),
        "milliseconds": _estimate(each.milliseconds),
        "cost_ratio": _ratio(each.cost),
        "nats_per_millisecond": each.nats_per_millisecond,
        "squared_snr_per_second_ratio": {network.value: _ratio(found) for network, found in each.speed.items()},
        "slowdown": _ratio(each.slowdown),
        "gain_of_steps_instead": _estimate(each.instead),
        "pays": each.pays,
        "refusal": each.refusal,
    }


def _estimate(found: Estimate | None) -> Mapping[str, float] | None:
    return None if found is None else vars(found)


def _ratio(found: Ratio | None) -> dict[str, float] | None:
    return None if found is None else {"value": found.value, "stderr": found.error}
