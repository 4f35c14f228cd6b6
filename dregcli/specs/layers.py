"""The sizes of a model's stochastic layers, and of the hidden layers that belong to each."""

from collections.abc import Sequence
from typing import Final, cast

from dregcli.errors import Fault
from dregcli.names import ModelName
from dregcli.specs.models import SETTINGS, is_layered, settings_of

Latents = int | tuple[int, ...]
Hidden = tuple[int, ...] | tuple[tuple[int, ...], ...]

_SEVERAL: Final = "--model hierarchical has several"


def layer_sizes_of(
    model: str, latent_dim: Latents | None, hidden: Hidden | None
) -> tuple[Latents, Hidden, list[Fault]]:
    """Return a model's sizes in the form of a spec: lists with one entry for each layer if it has several layers.

    Where the user gives latent dimensions and no hidden layers, each layer has its usual hidden layers, and a further
    layer those of the last usual one.

    Args:
        model: word of a model with these settings.
        latent_dim: the user's numbers of latent dimensions; None if the user gives none.
        hidden: the user's sizes of hidden layers; None if the user gives none.

    Returns:
        Latent dimensions, hidden layers, and every fault; with faults, the usual sizes.
    """
    usual = settings_of(model)
    latents: Latents = usual["latent_dim"] if latent_dim is None else latent_dim
    if not is_layered(model):
        sizes: Hidden = usual["hidden"] if hidden is None else hidden
        faults = _of_one_layer(model, latents, sizes)
        return (usual["latent_dim"], usual["hidden"], faults) if faults else (latents, sizes, [])
    latents = (latents,) if isinstance(latents, int) else latents
    layers = _usual(usual["hidden"], len(latents)) if hidden is None else _by_layer(hidden)
    faults = _of_several(latents, layers, empty=not usual["hidden"])
    return (usual["latent_dim"], usual["hidden"], faults) if faults else (latents, layers, [])


def usual_in_words(setting: str) -> str:
    """Return the usual sizes of each model as the user types them: ``50; hierarchical: 100,50``.

    Args:
        setting: ``hidden`` or ``latent_dim``.
    """
    usual = {word: _shown(settings[setting]) for word, settings in SETTINGS.items() if setting in settings}
    first = usual.pop(ModelName.VAE)
    return "; ".join([first, *(f"{word}: {sizes}" for word, sizes in usual.items() if sizes)])


def is_by_layer(hidden: Sequence[object]) -> bool:
    """Whether sizes of hidden layers are lists, one for each stochastic layer."""
    return any(not isinstance(each, int) for each in hidden)


def all_sizes(hidden: Hidden) -> tuple[int, ...]:
    """Return the sizes of all hidden layers."""
    return tuple(size for layer in _by_layer(hidden) for size in layer)


def _by_layer(hidden: Hidden) -> tuple[tuple[int, ...], ...]:
    if not hidden:
        return ()
    return cast("tuple[tuple[int, ...], ...]", hidden if is_by_layer(hidden) else (hidden,))


def _usual(hidden: tuple[tuple[int, ...], ...], layers: int) -> tuple[tuple[int, ...], ...]:
    return tuple(hidden[min(i, len(hidden) - 1)] for i in range(layers)) if hidden else ()


def _of_one_layer(model: str, latents: Latents, hidden: Hidden) -> list[Fault]:
    faults: list[Fault] = []
    if not isinstance(latents, int):
        message = f"{model} has one stochastic layer: give one number, got {_shown(latents)}. {_SEVERAL}."
        faults.append(Fault("latent-dim", message))
    if is_by_layer(hidden):
        message = f"{model} has one stochastic layer: leave the slash out, got {_shown(hidden)}. {_SEVERAL}."
        faults.append(Fault("hidden", message))
    return faults


def _of_several(latents: tuple[int, ...], hidden: tuple[tuple[int, ...], ...], *, empty: bool) -> list[Fault]:
    """Return the faults of lists by layer.

    Args:
        latents: numbers of latent dimensions.
        hidden: sizes of hidden layers.
        empty: whether a layer may have no hidden layers.
    """
    if not latents:
        return [Fault("latent-dim", "must have a number for each stochastic layer, such as 100,50.")]
    if not empty and not all(hidden or ((),)):
        lacking = ", ".join(f"z{i + 1}" for i, sizes in enumerate(hidden or ((),)) if not sizes)
        message = f"each stochastic layer needs hidden layers, such as 200,200/100,100, but {lacking} has none."
        return [Fault("hidden", message)]
    if len(hidden) == len(latents) or (empty and not hidden):
        return []
    example = "/".join("200,200" for _ in latents)
    message = (
        f"must have sizes for each stochastic layer: --latent-dim {_shown(latents)} has {len(latents)}, but "
        f"--hidden {_shown(hidden)} has {len(hidden)}. Separate the layers by slashes, such as --hidden {example}, "
        "or leave --hidden out."
    )
    return [Fault("hidden", message)]


def _shown(sizes: Latents | Hidden) -> str:
    """Return sizes as the user types them."""
    if isinstance(sizes, int):
        return str(sizes)
    if is_by_layer(sizes):
        return "/".join(_shown(each) for each in sizes)
    return ",".join(map(str, sizes))
