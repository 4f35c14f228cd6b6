"""A short bias check of a user's model: two estimators of one gradient, with K small and a limit of seconds."""

import time

from torch import Tensor

from dregcli.engine.checks.finding import Finding, error
from dregcli.engine.diagnostics.bias_check import BiasCheck
from dregcli.engine.diagnostics.bias_result import BiasResult
from dregcli.engine.diagnostics.source import Comparison, ModelSource
from dregcli.engine.pairs import resolve_pair
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.randomness import Randomness
from dregcli.names import Verdict

K = 4
"""Samples per example."""

EXAMPLES = 8

DETECT = 0.1
"""Relative bias that the check must be able to find before it reports 'unbiased'."""

_FALSE_ALARM = 1e-4
_MOST_BATCHES = 3072


def compare(model: ProgramModel, pixels: Tensor, *, seconds: float) -> tuple[BiasResult, list[Finding]]:
    """Compare the gradients of dreg and reparam, or of vimco and reinforce if a latent has no path.

    Args:
        model: the model.
        pixels: shape (B, D).
        seconds: limit of time; what is undecided then is inconclusive, which is no fault.
    """
    names = ("vimco", "reinforce") if model.discrete else ("dreg", "reparam")
    pair, reference = (resolve_pair("iwae", name, K) for name in names)
    source = ModelSource(model, pixels[:EXAMPLES], k=K, randomness=Randomness(0, pixels.device))
    check = BiasCheck(
        source,
        [Comparison(pair, reference)],
        false_alarm=_FALSE_ALARM,
        detect=DETECT,
        max_batches=_MOST_BATCHES,
    )
    started = time.monotonic()
    while not check.done:
        due = check.advance()
        late = time.monotonic() - started > seconds
        if due or late:
            check.look(last=late)
    (result,) = check.results()
    if result.verdict is not Verdict.BIASED:
        return result, []
    size = "" if result.relative_bias is None else f" by about {result.relative_bias:.0%} of the gradient"
    what = f"The gradients of {names[0]} and {names[1]} have different means{size} (p = {result.p_value:.1g}), "
    what += "but both should be unbiased."
    change = (
        "Look for a posterior whose rsample and log_prob do not match, a support that moves, or a gradient of its "
    )
    change += "own (a straight-through estimate, a cut graph)."
    return result, [error("biased", what, change)]
