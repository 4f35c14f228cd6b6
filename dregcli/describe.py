"""Specs in words, the same in every place that describes a run to people. Standard library only."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from dregcli.names import Binarisation, LikelihoodName, Task
from dregcli.parts import shown_word

_TEXTS: Final = ("git.diff", "git.untracked_text.")
"""Beginnings of the names of environment texts that are too long to be shown. Their digests are shown instead."""

NEW_ENCODER: Final = "encoder from new initial parameters"
"""What ``--reset-encoder`` did."""


def described(spec: Mapping[str, Any]) -> str:
    """Describe the data and pixels of a run; two bounds can only be compared if they share them.

    Example: ``mnist, bottom half given top half (burda split, dynamic binarisation)``.

    Args:
        spec: the spec of a run, as plain values.
    """
    halves = {
        Task.STRUCTURED: ", bottom half given top half",
        Task.STRUCTURED_REFERENCE: ", top half given bottom half as in the reference code",
    }.get(spec["task"], "")
    likelihood = spec["likelihood"]  # None if the model is a class of the user's own, which has its own distribution
    parts = [f"{spec['split_convention']} split"]
    if spec["binarisation"] != Binarisation.NONE:
        parts.append(f"{spec['binarisation']} binarisation")
    if likelihood not in (None, LikelihoodName.BERNOULLI):
        parts.append(f"{likelihood} likelihood")
    return f"{spec['dataset']}{halves} ({', '.join(parts)})"


def bound_k(spec: Mapping[str, Any]) -> int:
    """Return the samples per example in a run's evaluations during training and at its end.

    Args:
        spec: spec of a run, as plain values.
    """
    return spec.get("eval_k") or spec["k"]


def seen_as(spec: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return task, binarisation and likelihood, which two bounds on the same examples must share to be compared.

    A class of the user's own has no likelihood in its spec. On pixels that are drawn as 0 or 1 its bound is that of a
    probability, as with Bernoulli pixels; on other pixels it is only compared with bounds of such classes.
    """
    likelihood = spec["likelihood"]
    if likelihood is None:
        likelihood = "own" if spec["binarisation"] == Binarisation.NONE else LikelihoodName.BERNOULLI
    return str(spec["task"]), str(spec["binarisation"]), str(likelihood)


def experiment_in_words(spec: Mapping[str, Any]) -> str:
    """Describe the important settings of a spec except its seed, in one line.

    Args:
        spec: spec of a run, as plain values.
    """
    pair = f"{shown_word(spec['objective'])}/{shown_word(spec['estimator'])}"
    return f"{described(spec)}, {', '.join([pair, *_settings(spec)])}{_origin(spec)}"


def shared_in_words(specs: Sequence[Mapping[str, Any]]) -> str:
    """Describe the important settings that all specs share, except seed, objective and estimator, in one line.

    Args:
        specs: specs of runs with the same data, pixels and task, as plain values.
    """
    first, *others = (_settings(spec) for spec in specs)
    shared = [text for text in first if all(text in other for other in others)]
    origins = {_origin(spec) for spec in specs}
    return ", ".join([described(specs[0]), *shared]) + (origins.pop() if len(origins) == 1 else "")


def _settings(spec: Mapping[str, Any]) -> list[str]:
    return [f"K={spec['k']}", f"batch {spec['batch_size']}", f"lr {spec['lr']:g}", f"{spec['steps']} steps"]


def _origin(spec: Mapping[str, Any]) -> str:
    parent = spec["parent"]
    if not parent:
        return ""
    fresh = f", {NEW_ENCODER}" if parent["reset_encoder"] else ""
    return f", encoder on the model of {parent['run']} step {parent['checkpoint']}{fresh}"


def flat_environment(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an environment as one flat mapping, with digests in place of its long texts."""
    return {name: _digested(value) if name.startswith(_TEXTS) else value for name, value in flat(content).items()}


def _digested(text: object) -> object:
    """Replace a text by its length and digest, so that two different patches of the same length stay different."""
    if not isinstance(text, str) or not text:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{len(text):,} characters, SHA-256 {digest[:12]}"


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping, with their names joined by dots."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found |= flat(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
