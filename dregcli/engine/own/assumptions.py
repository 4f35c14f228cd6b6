"""The assumptions behind gradients of a user's own model: when they are checked by trial, and what is refused."""

import functools
import itertools
import weakref
from collections.abc import Sequence
from types import FunctionType
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.utils.weak import WeakIdKeyDictionary

from dregcli.engine.checks.score_identity import support_moves
from dregcli.engine.own.log_joint import LogJoint
from dregcli.engine.own.prior import Prior, prior_faults
from dregcli.engine.own.row_check import row_faults
from dregcli.engine.own.rows import RowChoice
from dregcli.engine.own.samples import Samples
from dregcli.engine.own.seeds import require_no_checkpoint
from dregcli.engine.pairs import Pair
from dregcli.engine.reach import Reach
from dregcli.errors import Fault, SpecError

_MOST_KINDS = 16
"""Largest number of kinds of calls of one model that are counted one by one, since some models have new shapes, or
the number of the step, in each call. All further kinds count together."""

_OTHERS: Final = 0
"""What all further kinds are counted as."""

_seen: "weakref.WeakKeyDictionary[Any, dict[Models, dict[int, int]]]" = weakref.WeakKeyDictionary()
"""For each log_joint and each model, the number of times that each kind of call has passed."""

Models = tuple[int | None, ...]
"""The numbers of the modules that a function uses."""

_next = itertools.count()
_numbers = WeakIdKeyDictionary()
"""A number for each module that was met, by its first parameter: a wrapper may be made anew in each call."""


def require_assumptions(
    draw: Samples, posterior: Distribution, pair: Pair, *, check: bool | None, insist: bool = False
) -> None:
    """Check by trial the assumptions of a gradient.

    Each row (k, b) must depend on its own sample alone, the factors of a prior must be those of a density, and the
    score's mean must be 0 if the pair needs that.

    Args:
        draw: samples of the model.
        posterior: the posterior that they were drawn from.
        pair: the pair that will use the samples.
        check: True checks now, False never. None checks at the first call with this log_joint, these modules and
            their modes, these graphs of both densities and these settings, such as the number of an axis; and then at
            the 10th, 100th, ... call, since the assumptions depend on parameters too.
        insist: True raises an error if rows cannot be checked; False ignores this.

    Raises:
        SpecError: an assumption does not hold; the error says which.
    """
    if check is False:
        return
    used = _values_used(draw.joint.function)
    if draw.joint.prior is not None:
        used += _values_used(draw.joint.prior.given)
    models = tuple(_number_of(value) for value in used if isinstance(value, nn.Module))
    passed = _seen.setdefault(_code_of(draw.joint.function), {}).setdefault(models, {})
    kind = _kind_of(draw, posterior, pair, used)
    if kind not in passed and len(passed) >= _MOST_KINDS:
        kind = _OTHERS
    count = passed.get(kind, 0) + 1
    if check is None and not _is_power_of_ten(count):
        passed[kind] = count
        return
    prior = draw.joint.prior
    if prior is not None:
        with draw.replay():
            if faults := prior_faults(prior, draw.located.z):
                raise SpecError(faults, hint="each factor may depend on other parts of z, and these not on it")
    if torch.is_grad_enabled() and draw.leaf not in draw.reach_of_p.leaves:
        # A reentrant checkpoint is on no graph, with all parameters inside, unless its input requires grad.
        z = draw.located.z.detach().requires_grad_(draw.located.z.is_floating_point())
        with draw.replay():
            require_no_checkpoint("log_joint", Reach.of(draw.joint(z, RowChoice(z.shape[1]))))
    if faults := row_faults(draw, insist=insist):
        raise SpecError(faults, hint="call .eval() on modules with batch statistics; check=False skips this check")
    if pair.needs_score_identity and torch.is_grad_enabled() and support_moves(draw.unfolded, draw.start, posterior):
        message = "its support moves with its parameters and has density at the moving border, or its rsample "
        message += "and log_prob do not match: the mean of d log q / d phi is not 0, no score identity "
        message += f"holds, and '{pair.word}' would be biased."
        hint = "use estimator 'reparam' with an objective that has a path, such as 'iwae': it needs no such identity "
        hint += "and no bias check; or take a posterior with a fixed support, such as a transformed Normal"
        raise SpecError([Fault("posterior", message)], hint=hint)
    passed[kind] = count


def _is_power_of_ten(count: int) -> bool:
    return str(count).strip("0") == "1"


def _number_of(module: nn.Module) -> int | None:
    """Return the number of a module that was met before, or a new one; None if it has no parameters."""
    first = next(module.parameters(), None)
    if first is None:
        return None
    if first not in _numbers:
        _numbers[first] = next(_next)
    return cast("int", _numbers[first])


def _kind_of(draw: Samples, posterior: Distribution, pair: Pair, used: Sequence[object]) -> int:
    """Return a hash; of two calls with the same hash, only the first needs a check."""
    k, batch = draw.log_p.shape
    kinds = (type(posterior), type(draw.unfolded.base), *(type(step.transform) for step in draw.unfolded.steps))
    graphs = (draw.reach_of_p.names, draw.reach_of_q.names)
    prior: object = None
    if draw.joint.prior is not None:
        prior = _code_of(draw.joint.prior.given), draw.joint.prior.rule
    context = tuple(_state_of(value) for value in used)
    return hash((k == 1, batch == 1, kinds, graphs, prior, context, pair.needs_score_identity))


def _unwrapped(log_joint: LogJoint | Prior) -> Any:  # noqa: ANN401 - whatever can be called
    """Return the innermost callable, below partial applications, decorators and torch.compile."""
    found: Any = log_joint
    for _ in range(100):
        if isinstance(found, functools.partial):
            found = cast("Any", found).func
            continue
        below = [getattr(found, name, None) for name in ("_orig_mod", "_torchdynamo_orig_callable", "__wrapped__")]
        inner = next((each for each in below if each is not None), None)
        if inner is None:
            break
        found = inner
    return found


def _code_of(log_joint: LogJoint | Prior) -> object:
    """Return the part that stays the same if a function or callable object is created again for every batch."""
    found = _unwrapped(log_joint)
    if isinstance(found, nn.Module):
        found = type(found).forward
    elif not hasattr(found, "__code__") and not hasattr(found, "__func__"):
        found = cast("Any", type(found)).__call__
    found = getattr(found, "__func__", found)
    found = getattr(found, "__code__", found)
    try:
        weakref.ref(found)
        hash(found)
    except TypeError:
        return cast("object", type(found))
    return found


def _values_used(log_joint: LogJoint | Prior) -> list[Any]:
    """Return the values that a function uses beside its argument: its object, closure, defaults and globals."""
    found = _unwrapped(log_joint)
    values: list[Any] = []
    if isinstance(log_joint, functools.partial):
        values += [*log_joint.args, *log_joint.keywords.values()]
    values += getattr(found, "__defaults__", None) or ()
    values += (getattr(found, "__kwdefaults__", None) or {}).values()
    owner = getattr(found, "__self__", None)
    for each in (owner, found):
        if isinstance(each, nn.Module):
            values.append(each)
        elif each is not None and hasattr(each, "__dict__"):
            values.extend(cast("dict[str, Any]", vars(each)).values())
    code = getattr(getattr(found, "__func__", found), "__code__", None)
    if code is not None:
        names: dict[str, Any] = getattr(found, "__globals__", {})
        values.extend(names[name] for name in code.co_names if name in names)
        for cell in getattr(found, "__closure__", None) or ():
            try:
                values.append(cell.cell_contents)
            except ValueError:  # not filled yet
                continue
    return values


def _state_of(value: object) -> object:
    """Return what decides how rows depend on each other.

    It is the modes of modules, a tensor's broadcast axes, a function's code, a setting such as the number of an axis,
    and whether a factor, which may change in each call, is 0.
    """
    if isinstance(value, nn.Module):
        return tuple(module.training for module in value.modules())
    if isinstance(value, Tensor):
        return tuple(size == 1 for size in value.shape)
    if isinstance(value, float):
        return value == 0.0
    if isinstance(value, FunctionType):
        return value.__code__
    return (type(value), value) if isinstance(value, (int, str)) else value is None
