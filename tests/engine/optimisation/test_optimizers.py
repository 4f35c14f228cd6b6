"""Every optimizer against torch's own class, and what a step with broken numbers leaves as it was."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dregcli.engine.optimisation import Adam, Optimisation, Updates, parse_optimizer
from dregcli.errors import SpecError
from dregcli.names import OptimizerName
from tests.support.sweep import swept

WORDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {}),
    "adam:beta1=0.5,eps=1e-6,amsgrad=true": (torch.optim.Adam, {"betas": (0.5, 0.999), "eps": 1e-6, "amsgrad": True}),
    "adam:weight_decay=0.1": (torch.optim.Adam, {"weight_decay": 0.1}),
    "adam:weight_decay=0.1,decoupled_weight_decay=true": (torch.optim.AdamW, {"weight_decay": 0.1}),
    "adamw": (torch.optim.AdamW, {}),
    "adamw:weight_decay=0.05": (torch.optim.AdamW, {"weight_decay": 0.05}),
    "sgd": (torch.optim.SGD, {}),
    "sgd:momentum=0.9,nesterov=true": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "rmsprop:alpha=0.9,centered=true": (torch.optim.RMSprop, {"alpha": 0.9, "centered": True}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adadelta": (torch.optim.Adadelta, {}),
    "adamax:beta2=0.9": (torch.optim.Adamax, {"betas": (0.9, 0.9)}),
    "nadam": (torch.optim.NAdam, {}),
    "radam": (torch.optim.RAdam, {}),
    "asgd:t0=2": (torch.optim.ASGD, {"t0": 2.0}),
    "rprop:eta1=0.4": (torch.optim.Rprop, {"etas": (0.4, 1.2)}),
}
SHAPES = {"weight": (3, 2), "bias": (3,)}


def _parameters() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
        for name, shape in SHAPES.items()
    }


def _gradients(step: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()}


def _all(tensors: dict[str, Any]) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in tensors.items()}


def _same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_every_optimizer_is_in_the_sweep() -> None:
    assert {parse_optimizer(word).name for word in WORDS} == set(OptimizerName)


@swept("word", WORDS, named=str)
def test_an_optimizer_is_torchs_own(word: str) -> None:
    """To 1e-12: Adam is fused here, torch's class is not. A rate that changes is refused where it does nothing."""
    kind, options = WORDS[word]
    found, expected, steady = _parameters(), _parameters(), _parameters()
    optimizer, other = (parse_optimizer(word).build(each, 0.03, torch.zeros(())) for each in (found, steady))
    theirs = kind(list(expected.values()), lr=0.03, **options)
    for step in range(7):
        if step == 4:
            optimizer.set_rate(0.007)
            theirs.param_groups[0]["lr"] = 0.007
        optimizer.step(_gradients(step))
        other.step(_gradients(step))
        for name, gradient in _gradients(step).items():
            expected[name].grad = gradient
        theirs.step()
    for name, each in expected.items():
        torch.testing.assert_close(found[name].detach(), each.detach(), rtol=1e-12, atol=1e-12)
    assert not _same(_all(found), _all(_parameters()))
    assert _same(_all(found), _all(steady)) is not parse_optimizer(word).follows_rate


@swept("word", WORDS, named=str)
@pytest.mark.parametrize("of_whom", ["gradients", "parameters"])
def test_the_order_in_memory_changes_nothing(word: str, of_whom: str) -> None:
    """A convolution in channels_last, a transposed gradient and an expanded one are steps like any other."""
    plain, other = _parameters(), _parameters()
    if of_whom == "parameters":
        wide = torch.zeros(3, 4, dtype=torch.float64)
        wide[:, :2] = other["weight"].detach()
        other = {"weight": nn.Parameter(wide[:, :2]), "bias": other["bias"]}
    first, second = (parse_optimizer(word).build(each, 0.03, torch.zeros(())) for each in (plain, other))
    for step in range(4):
        if step == 2:
            held = second.tensors()
            second = parse_optimizer(word).build(other, 0.03, torch.zeros(()))
            second.load(held)
        gradients = _gradients(step)
        gradients["bias"] = gradients["bias"][:1].expand(3)
        first.step({name: each.contiguous() for name, each in gradients.items()})
        if of_whom == "gradients":
            gradients["weight"] = gradients["weight"].t().contiguous().t()
        second.step(gradients)
    for name, each in plain.items():
        torch.testing.assert_close(other[name].detach(), each.detach(), rtol=1e-12, atol=1e-12)


@swept("word", WORDS, named=str)
def test_an_optimizer_continues_from_its_state_to_the_last_bit(word: str) -> None:
    straight, cut = _parameters(), _parameters()
    flag = torch.zeros(())
    first, second = (parse_optimizer(word).build(each, 0.03, flag) for each in (straight, cut))
    assert not first.tensors()
    second.load({})
    for step in range(6):
        if step == 3:
            held = second.tensors()
            second = parse_optimizer(word).build(cut, 0.03, flag)
            second.load(held | {"other/step": torch.ones(())})
        first.step(_gradients(step))
        second.step(_gradients(step))
    assert _same(_all(cut), _all(straight))
    assert _same(second.tensors(), first.tensors())


@swept("word", WORDS, named=str)
@pytest.mark.parametrize("before", [0, 2])
def test_a_broken_step_changes_nothing(word: str, before: int) -> None:
    parameters, flag = _parameters(), torch.zeros(())
    optimizer = parse_optimizer(word).build(parameters, 0.03, flag)
    for step in range(before):
        optimizer.step(_gradients(step))
    kept, state = _all(parameters), optimizer.tensors()
    flag.fill_(1.0)
    optimizer.step({name: each * math.nan for name, each in _gradients(9).items()})
    assert _same(_all(parameters), kept)
    left = optimizer.tensors()
    assert _same(left, state) or (not before and not any(each.any() for each in left.values()))


def test_a_rate_in_a_tensor_is_the_rate() -> None:
    """A step that a GPU records reads its rate from the device."""
    found, expected = _parameters(), _parameters()
    rate = torch.zeros((), dtype=torch.float64)
    first, second = Adam(found, lr=rate), Adam(expected, lr=0.0)
    for step in range(4):
        for each in (first, second):
            each.set_rate(0.1 / (1 + step))
            each.step(_gradients(step))
    assert rate.item() == 0.025
    assert _same(_all(found), _all(expected))


def _updates(parameters: dict[str, nn.Parameter], **how: Any) -> Updates:
    theta, phi = ({name: parameters[name]} for name in SHAPES)
    return Updates(theta, phi, Optimisation(**how), lr=0.03, steps_per_epoch=2, broken=torch.zeros(()))


@pytest.mark.parametrize("word", ["adam", "sgd:momentum=0.5"])
def test_the_posterior_has_a_rate_of_its_own(word: str) -> None:
    """Against torch's groups; a parameter that both have belongs to the model."""
    kind, options = {**WORDS, "sgd:momentum=0.5": (torch.optim.SGD, {"momentum": 0.5})}[word]
    found, expected = _parameters(), _parameters()
    updates = _updates(found, optimizer=parse_optimizer(word), lr_posterior=0.004)
    groups = [{"params": [expected["weight"]]}, {"params": [expected["bias"]], "lr": 0.004}]
    theirs = kind(groups, lr=0.03, **options)
    for step in range(4):
        updates.apply(_gradients(step))
        for name, gradient in _gradients(step).items():
            expected[name].grad = gradient
        theirs.step()
    for name, each in expected.items():
        torch.testing.assert_close(found[name].detach(), each.detach(), rtol=1e-12, atol=1e-12)
    assert updates.rates(0) == {"lr": 0.03, "lr_posterior": 0.004}
    shared = Updates(
        found,
        {"bias": found["bias"]},
        Optimisation(lr_posterior=0.004),
        lr=0.03,
        steps_per_epoch=2,
        broken=torch.zeros(()),
    )
    before = _all(found)
    shared.apply(_gradients(0))
    moved = (found["bias"].detach() - before["bias"]).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.03), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize(("limit", "is_clipped"), [(0.5, True), (1e6, False)])
def test_clipping_is_torchs_own(limit: float, is_clipped: bool) -> None:
    parameters, gradients = _parameters(), _gradients(0)
    limited, clipped = _updates(parameters, grad_clip=limit).clipped(gradients)
    for name, each in parameters.items():
        each.grad = gradients[name].clone()
    nn.utils.clip_grad_norm_(parameters.values(), limit)
    for name, each in parameters.items():
        torch.testing.assert_close(limited[name], each.grad, rtol=1e-12, atol=0.0)
    assert clipped.tolist() == [float(is_clipped)]
    assert _same(limited, gradients) is not is_clipped


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_the_average_is_the_weighted_mean_of_the_weights_after_each_step(decay: float) -> None:
    parameters = _parameters()
    updates = _updates(parameters, ema=decay)
    after: list[Tensor] = []
    for step in range(9):
        updates.set_step(step)
        updates.apply(_gradients(step))
        after.append(parameters["weight"].detach().clone())
        shares = torch.tensor([decay ** (step - i) for i in range(step + 1)], dtype=torch.float64)
        mean = (torch.stack(after) * (shares / shares.sum())[:, None, None]).sum(dim=0)
        with updates.evaluated():
            torch.testing.assert_close(parameters["weight"].detach(), mean, rtol=1e-12, atol=1e-14)
        assert torch.equal(parameters["weight"], after[-1])


@pytest.mark.parametrize("end", [0, 5])
def test_an_average_does_not_change_with_a_broken_step(end: int) -> None:
    parameters, flag = _parameters(), torch.zeros(())
    updates = Updates(parameters, {}, Optimisation(ema=0.9), lr=0.03, steps_per_epoch=2, broken=flag)
    for step in range(end):
        updates.set_step(step)
        updates.apply(_gradients(step))
    with updates.evaluated():
        kept = _all(parameters)
    flag.fill_(1.0)
    updates.set_step(end)
    with torch.no_grad():
        parameters["bias"] += 1.0
    updates.apply(_gradients(9))
    with updates.evaluated():
        assert _same(_all(parameters), kept)


def test_words_come_back_as_they_are_written() -> None:
    for word, short in {
        "adam:beta1=0.9": "adam",
        "sgd:nesterov=true,momentum=0.9": "sgd:momentum=0.9,nesterov=true",
        "adamw:weight_decay=0.01,eps=1e-08": "adamw",
        "rprop:step_size2=5": "rprop:step_size2=5.0",
    }.items():
        assert parse_optimizer(word).word == short
        assert parse_optimizer(short) == parse_optimizer(word)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("adamm", "no optimizer is called 'adamm'. Did you mean 'adam'?"),
        ("lbfgs", "no optimizer is called 'lbfgs'."),
        (
            "sgd:momentun=0.9",
            "'sgd' has no parameter 'momentun': it takes momentum, dampening, weight_decay, nesterov.",
        ),
        ("sgd:lr=0.1", "'sgd' has no parameter 'lr'"),
        ("sgd:nesterov=1", "needs true or false, got '1'"),
        ("sgd:nesterov=true", "Nesterov momentum requires a momentum"),
        ("adam:beta1=1", "'beta1' of 'adam' must be at least 0 and less than 1, got 1.0"),
        ("adamw:weight_decay=-1", "must be at least 0, got -1.0"),
        ("rmsprop:alpha=nan", "must be a finite number, got nan"),
    ],
)
def test_words_that_are_refused(word: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_optimizer(word)
    assert said in str(caught.value)
