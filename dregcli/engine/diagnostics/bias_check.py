"""The bias check: a sequential test that always ends with a verdict and states its error probabilities."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dregcli.engine.diagnostics.batch_means import BatchMeans
from dregcli.engine.diagnostics.bias_result import BiasResult
from dregcli.engine.diagnostics.bias_statistics import (
    Blocks,
    Estimate,
    Evidence,
    evidence,
    gram,
    learning_means,
    squared_norm_of_mean,
)
from dregcli.engine.diagnostics.references import Comparison
from dregcli.engine.diagnostics.source import GradientSource
from dregcli.errors import Fault, NotFinite
from dregcli.names import Verdict

__all__ = ["BiasCheck", "BiasResult", "look_schedule", "number_faults"]

FIRST_LOOK = 384
"""Batches before any look, also where a check ends early: four in each mean, so that no mean rests on a single
heavy-tailed draw. Of 90 batches, tests at .001 call 1 in 100 unbiased pairs biased (elbo/stl of
``tests.benchmarks.bias_calibration``); of 384, 2 in 1,000, about as many as of 3,072."""

REFERENCE_BATCHES = 128
"""Number of first batches for which whole reference gradients are computed; later, one batch in ``REFERENCE_EVERY``
has one. Usually the reference's norm is known well before the difference is tested; if not, the later ones help."""

REFERENCE_EVERY = 16

_LOWER = 1.645
"""Distance of an estimate's one-sided 95 % bound below the estimate, in standard errors."""

_INTERVAL = 1.96


def look_schedule(max_batches: int) -> tuple[int, ...]:
    """Return the numbers of batches at which the data are tested: 384, then doubling, and the last one."""
    looks: list[int] = []
    look = FIRST_LOOK
    while look < max_batches:
        looks.append(look)
        look *= 2
    return (*looks, max_batches)


def number_faults(*, false_alarm: float, detect: float, max_batches: int, max_seconds: float | None) -> list[Fault]:
    """Return the faults in the numbers of a check."""
    faults: list[Fault] = []
    if not 0.0 < false_alarm <= 0.5:
        faults.append(Fault("false_alarm", f"must be greater than 0 and at most 0.5, got {false_alarm}."))
    if not 0.0 < detect <= 1.0:
        faults.append(Fault("detect", f"must be greater than 0 and at most 1, got {detect}."))
    if type(max_batches) is not int or max_batches < FIRST_LOOK:
        why = "the tests of fewer batches would often call an unbiased estimator biased"
        faults.append(
            Fault("max_batches", f"must be a whole number, at least {FIRST_LOOK}, got {max_batches}: {why}.")
        )
    if max_seconds is not None and not max_seconds > 0.0:
        faults.append(Fault("max_seconds", f"must be greater than 0, got {max_seconds}."))
    return faults


@dataclass
class _Running:
    """The state of one comparison while the check runs."""

    comparison: Comparison
    means: BatchMeans
    p_value: float = 1.0
    looks: int = 0
    result: BiasResult | None = None


@dataclass(frozen=True)
class _Reference:
    """The reference gradient: squared norms over all parameters and over the tested ones, and a direction."""

    norm: Estimate
    of_tested: Estimate
    direction: Mapping[str, Tensor]


def _require_finite(comparison: Comparison, blocks: Blocks) -> None:
    """Refuse NaN: it is not evidence, and the tests would read it as a lack of evidence."""
    if broken := [name for name, rows in blocks.items() if not torch.isfinite(rows).all()]:
        what = f"the gradients of '{comparison.pair.word}' or '{comparison.reference.word}' are not finite."
        shown = ", ".join(broken[:10]) + (", ..." if len(broken) > 10 else "")
        raise NotFinite(what, where=shown, hint="look for overflow in the model at these parameters")


class BiasCheck:
    """A check of several estimators on the same noise.

    The probability of any false alarm in the whole call is at most ``false_alarm``. It is shared equally between
    comparisons, then between looks in proportion to the batches since the look before (the last look gets all that is
    left), and then between the tests of a look.

    Args:
        source: gradients of a frozen model at fixed examples.
        comparisons: comparisons to make.
        false_alarm: probability of calling any unbiased pair biased; approximate, since the tests are asymptotic.
        detect: smallest relative bias that the check must be able to detect before it reports 'unbiased'.
        max_batches: largest number of batches.
    """

    def __init__(
        self,
        source: GradientSource,
        comparisons: Sequence[Comparison],
        *,
        false_alarm: float,
        detect: float,
        max_batches: int,
    ) -> None:
        self.looks = look_schedule(max_batches)
        self.step = 0
        self._source = source
        self._false_alarm = false_alarm
        self._detect = detect
        self._max_batches = max_batches
        self._running = [_Running(comparison, BatchMeans()) for comparison in comparisons]
        self._references = {comparison.reference: BatchMeans(most=32) for comparison in comparisons}
        self._reference_batches = min(REFERENCE_BATCHES, self.looks[0] // 3)
        self._last_look = 0

    @property
    def undecided(self) -> int:
        """Number of comparisons without a verdict."""
        return sum(each.result is None for each in self._running)

    @property
    def done(self) -> bool:
        """Whether every comparison has its verdict."""
        return self.undecided == 0

    def advance(self) -> bool:
        """Draw one batch and return whether a look is due."""
        waiting = [each for each in self._running if each.result is None]
        beyond = self.step - self._reference_batches
        references = beyond < 0 or beyond % REFERENCE_EVERY == 0
        draw = self._source.draw(self.step, [each.comparison for each in waiting], references=references)
        for each, parts in zip(waiting, draw.differences, strict=True):
            each.means.add(parts)
        for pair, parts in draw.references.items():
            self._references[pair].add(parts)
        self.step += 1
        return self.step in self.looks

    def look(self, *, last: bool = False) -> None:
        """Test the data so far, and decide the comparisons that can be decided.

        Args:
            last: no more batches will come; open comparisons become inconclusive. With fewer than ``FIRST_LOOK``
                batches there is no test, so that all do.

        Raises:
            NotFinite: an estimator's gradients are not finite, although its weights are.
        """
        last = last or self.step >= self._max_batches
        # If the check ends early, the later looks do not happen, so this look may use their share.
        until = self._max_batches if last else self.step
        share = (until - self._last_look) / self._max_batches / len(self._running)
        for each in self._running:
            if each.result is None:
                self._look_at(each, share, last=last)
        self._last_look = self.step

    def _look_at(self, each: _Running, share: float, *, last: bool) -> None:
        means = each.means.means()
        if not means and each.means.count:
            each.result = self._result(each, Verdict.IDENTICAL)
        elif each.means.count < FIRST_LOOK or share == 0.0:
            each.result = self._result(each, Verdict.INCONCLUSIVE) if last else None
        else:
            blocks = self._source.expand(means)
            reference = self._reference(each, blocks)
            direction = reference.direction
            _require_finite(each.comparison, blocks)
            found = evidence(blocks, direction, alpha=self._false_alarm * share)
            each.looks += 1
            each.p_value = min(each.p_value, found.p / share)
            result = self._result(each, Verdict.INCONCLUSIVE, found, reference)
            if result.p_value <= self._false_alarm:
                each.result = self._result(each, Verdict.BIASED, found, reference)
            elif result.detectable is not None and result.detectable <= self._detect:
                each.result = self._result(each, Verdict.UNBIASED, found, reference)
            elif last:
                each.result = result

    def _reference(self, each: _Running, tested: Blocks) -> _Reference:
        """Return the reference's squared norms, and its direction from the learning batches but not the testing ones.

        Reference and difference share noise, so a direction computed from the testing batches would find this noise.
        """
        kept = self._references[each.comparison.reference]
        means = kept.means()
        early = self._references_before(learning_means(each.means.whole) * each.means.size) // kept.size
        return _Reference(
            norm=squared_norm_of_mean(gram(means)),
            of_tested=squared_norm_of_mean(gram({name: means[name] for name in tested})),
            direction={name: rows[:early].mean(dim=0) for name, rows in means.items()},
        )

    def _references_before(self, step: int) -> int:
        """Return the number of reference gradients computed in the first ``step`` batches."""
        dense = min(step, self._reference_batches)
        return dense + -(-(step - dense) // REFERENCE_EVERY)

    def _result(
        self, each: _Running, verdict: Verdict, found: Evidence | None = None, reference: _Reference | None = None
    ) -> BiasResult:
        relative, interval, detectable, share = None, None, None, None
        norm = reference.norm if reference else None
        if reference and reference.norm.value > 0.0 and reference.of_tested.value > 0.0:
            share = math.sqrt(reference.of_tested.value / reference.norm.value)
        if found and norm and (surely := norm.value - _LOWER * norm.stderr) > 0.0:
            ratio = found.square.value / norm.value
            stderr = math.hypot(found.square.stderr, ratio * norm.stderr) / norm.value
            low, middle, high = (math.sqrt(max(0.0, ratio + s * _INTERVAL * stderr)) for s in (-1, 0, 1))
            relative, interval = middle, (low, high)
            detectable = math.sqrt(found.detectable_square / surely)
        pair = each.comparison.pair
        return BiasResult(
            comparison=each.comparison,
            k=self._source.k,
            n=each.means.count,
            promise=pair.promise(self._source.k),
            verdict=verdict,
            p_value=min(1.0, each.p_value),
            evidence=found,
            relative_bias=relative,
            interval=interval,
            detectable=detectable,
            tested_share=share,
            looks=each.looks,
        )

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return all that a later process needs to continue, as plain values and tensors by name.

        The tensors are not copies: write them before another batch is drawn.
        """
        kept = [*(each.means for each in self._running), *self._references.values()]
        states = [means.state() for means in kept]
        numbers = {
            "step": self.step,
            "last_look": self._last_look,
            "means": [of_one for of_one, _ in states],
            "comparisons": [
                {
                    "p_value": each.p_value,
                    "looks": each.looks,
                    "result": each.result.as_plain() if each.result else None,
                }
                for each in self._running
            ],
        }
        return numbers, {f"{i}/{name}": part for i, (_, parts) in enumerate(states) for name, part in parts.items()}

    def load(self, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Continue from the state of a check of the same comparisons and settings."""
        self.step, self._last_look = numbers["step"], numbers["last_look"]
        kept = [*(each.means for each in self._running), *self._references.values()]
        for i, (means, of_one) in enumerate(zip(kept, numbers["means"], strict=True)):
            prefix = f"{i}/"
            own = {name.removeprefix(prefix): part for name, part in tensors.items() if name.startswith(prefix)}
            means.load(of_one, own)
        for each, plain in zip(self._running, numbers["comparisons"], strict=True):
            each.p_value, each.looks = plain["p_value"], plain["looks"]
            each.result = BiasResult.from_plain(each.comparison, plain["result"]) if plain["result"] else None

    def results(self) -> list[BiasResult]:
        """Return the verdicts in the order of the comparisons.

        Raises:
            RuntimeError: some comparisons are still open.
        """
        found = [each.result for each in self._running if each.result is not None]
        if len(found) < len(self._running):
            message = "the check is not finished"
            raise RuntimeError(message)
        return found
