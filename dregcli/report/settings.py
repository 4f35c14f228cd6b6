"""Settings of specs as short texts, for labels and tables."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from dregcli.parts import shown_word
from dregcli.report.groups import Group
from dregcli.wording import typed_list

_NAMES: Final = {
    "dataset": "",
    "task": "",
    "model": "",
    "binarisation": "",
    "likelihood": "",
    "device": "",
    "backward": "",
    "screen_precision": "",
    "parent": "",
    "optimizer": "",
    "lr_schedule": "",
    "k": "K",
    "eval_k": "eval-K",
    "batch_size": "batch",
    "latent_dim": "latents",
    "data_checksum": "data",
    "screen_inflation": "inflation",
    "model_digest": "code",
    "model_before": "code-before",
}
"""Names of settings in labels, if they are not those of the options; an empty name shows the value alone."""

_SHORT_NAMES: Final = {"batch_size": "B", "latent_dim": "z", "hidden": "h", "steps": "T", "eval_seed": "E"}
"""Names for labels that would be too long."""

_MODEL_OPTION: Final = "model_options."
"""Beginning of the name of a setting that is an option of the constructor of a user's own model."""

MEANINGS: Final = {
    "k": "{} is the number of samples per example",
    "eval_k": "{} is the number of samples per example of the final bounds",
    "batch_size": "{} is the number of examples per step",
    "latent_dim": "{} is the number of latent dimensions",
    "hidden": "{} lists the sizes of the hidden layers",
    "steps": "{} is the number of steps",
    "eval_seed": "{} is the seed of the evaluations",
    "lr": "{} is the learning rate",
    "lr_posterior": "{} is the learning rate of the posterior",
    "warmup_steps": "{} is the number of steps in which the learning rate rises",
    "kl_warmup": "{} is the number of steps in which the objective's KL part rises to its whole weight",
    "prior_gradient": "{} says how the gradient of a learned prior is computed",
    "noise": "{} says whether the samples of a training step are independent or antithetic pairs",
    "grad_clip": "{} is the largest norm of a step's gradient",
    "ema": "{} is the decay of the average of the weights",
    "patience": "{} is the number of validations without a better bound after which a run stops",
    "data_checksum": "{} is the beginning of the data's checksum",
    "model_digest": "{} is the beginning of the SHA-256 of the model's code",
    "model_before": "{} names the code of the model that took the first steps, and the last of them",
    "screen_inflation": "{} is the allowed growth of the gradient's variance by screening",
    "parent": "reset means that the encoder started with new parameters",
}
"""The legend's words for the names of settings."""


def with_model_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run, where each option of the user's own model is a setting with a name of its own."""
    options: Mapping[str, Any] = settings.get("model_options", {})
    others = {name: value for name, value in settings.items() if name != "model_options"}
    return others | {f"{_MODEL_OPTION}{name}": value for name, value in options.items()}


def differing_names(groups: Sequence[Group]) -> list[str]:
    """Return the names of the settings in which the groups' experiments differ, in the order of a spec."""
    names = dict.fromkeys(name for group in groups for name in group.experiment)
    return [name for name in names if len({repr(group.experiment.get(name)) for group in groups}) > 1]


def value_in_words(name: str, value: object) -> str:
    """Return the value of a field of a spec as a short text."""
    if name == "model_before":
        ends = (str(each).partition("@") for each in cast("list[object]", value or ()))
        return ",".join(f"{digest[:8]}@{step}" for digest, _, step in ends) or "none"
    if isinstance(value, list | tuple):
        value = typed_list(cast("list[object]", value)) or "none"
    if isinstance(value, Mapping):
        parent = cast("Mapping[str, object]", value)
        value = f"{parent.get('run')}@{parent.get('checkpoint')}" + ("-reset" if parent.get("reset_encoder") else "")
    if isinstance(value, float):
        value = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if name in ("objective", "estimator"):
        return shown_word(str(value))
    return str(value)[:8] if name in ("data_checksum", "model_digest") else str(value)


def shown_value(name: str, value: object) -> str:
    """Return the value of a setting as a label shows it; empty for a value that a label does not show."""
    if name == "parent":
        return "reset" if isinstance(value, Mapping) and cast("Mapping[str, Any]", value).get("reset_encoder") else ""
    return "" if value is None else value_in_words(name, value)


def shown_name(name: str, *, is_short: bool) -> str:
    """Return the name of a setting in a label; empty if the value alone is shown."""
    if name.startswith(_MODEL_OPTION):
        return name.removeprefix(_MODEL_OPTION)
    usual = _NAMES.get(name, name.replace("_", "-"))
    return _SHORT_NAMES.get(name, usual) if is_short else usual


def setting_name(name: str) -> str:
    """Return the name of a setting where it stands alone, such as ``K`` or ``dataset``."""
    return shown_name(name, is_short=False) or name.replace("_", "-")


def shown_setting(name: str, value: str, *, is_short: bool) -> str:
    """Return a setting as a label shows it."""
    word = shown_name(name, is_short=is_short)
    return f"{word}={value}" if word else value
