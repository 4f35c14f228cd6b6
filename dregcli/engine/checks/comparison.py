"""A short bias check of a user's model: two estimators of one gradient, with K small and a limit of seconds."""

import time
from dataclasses import dataclass, replace

from torch import Tensor

from dregcli.engine.checks.finding import Finding, error, warning
from dregcli.engine.diagnostics.bias_check import BiasCheck
from dregcli.engine.diagnostics.bias_result import BiasResult
from dregcli.engine.diagnostics.references import Comparison
from dregcli.engine.diagnostics.source import ModelSource
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness
from dregcli.errors import Fault
from dregcli.names import Verdict

K = 4
"""Samples per example."""

EXAMPLES = 2

DETECT = 0.1
"""Relative bias that the check must be able to find before it reports 'unbiased'."""

_PAIRS = (("dreg", "reparam"), ("vimco", "reinforce"))
"""Pairs of estimators with the same mean; the first pair that the model has gradients for is compared."""

_SURE = 3.0
"""A bias is a fault if it is this many times the smallest one that is found; a heavy tail makes smaller ones."""

_FALSE_ALARM = 1e-4
"""Nominal probability of calling a sound model biased; with heavy tails, a benchmark measures 4 to 10 times it."""

MOST_BATCHES = 3072
"""Batches after which the comparison ends."""


@dataclass(frozen=True)
class Compared:
    """The result of comparing two estimators.

    Attributes:
        words: the estimator and the one that it is compared with; empty if there is no comparison.
        result: the verdict; None if there is no comparison.
        reason: the reason if there is no comparison.
        findings: a finding if the two differ.
    """

    words: tuple[str, ...] = ()
    result: BiasResult | None = None
    reason: str | None = None
    findings: tuple[Finding, ...] = ()


def compare(model: ProgramModel, pixels: Tensor, *, seconds: float, batches: int = MOST_BATCHES) -> Compared:
    """Compare the gradients of dreg and reparam, or of vimco and reinforce if no latent has a path.

    Args:
        model: the model.
        pixels: shape (B, D).
        seconds: limit of time; what is undecided then is inconclusive, which is no fault.
        batches: limit of batches.
    """
    if not model.posterior_parameters().keys() - set(model.unreached):
        return Compared(reason="q has no parameters, so that all estimators are the same")
    refused: list[Fault] = []
    for words in _PAIRS:
        pairs = [resolve_pair("iwae", word, K) for word in words]
        faults = [fault for pair in pairs for fault in model.faults(pair)]
        if not faults:
            return _compared(model, pixels, words, Comparison(*pairs), seconds, batches)
        refused += faults
    return Compared(reason=" ".join(dict.fromkeys(fault.message for fault in refused)))


def _compared(
    model: ProgramModel, pixels: Tensor, words: tuple[str, str], comparison: Comparison, seconds: float, batches: int
) -> Compared:
    source = ModelSource(model, pixels[:EXAMPLES], k=K, randomness=Randomness(0, pixels.device))
    check = BiasCheck(source, [comparison], false_alarm=_FALSE_ALARM, detect=DETECT, max_batches=batches)
    started = time.monotonic()
    while not check.done:
        due = check.advance()
        late = time.monotonic() - started > seconds
        if due or late:
            check.look(last=late)
    (result,) = check.results()
    found = Compared(words, result)
    if result.verdict is not Verdict.BIASED:
        return found
    size = "" if result.relative_bias is None else f" by about {result.relative_bias:.0%} of the gradient"
    what = f"The gradients of {words[0]} and {words[1]} have different means{size} (p = {result.p_value:.1g}), "
    what += "but both should be unbiased."
    change = (
        "Look for a posterior whose rsample and log_prob do not match, a support that moves, or a gradient of its "
    )
    change += "own (a straight-through estimate, a cut graph)."
    sure = result.relative_bias and result.detectable and result.relative_bias > _SURE * result.detectable
    if sure:
        return replace(found, findings=(error("biased", what, change),))
    change += " Or a few draws decide the mean, as for a density that rises steeply at its border: then no sample of "
    change += "this size shows it, and reparam is the better estimator."
    return replace(found, findings=(warning("biased", what, change),))
