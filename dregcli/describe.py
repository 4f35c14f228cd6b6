"""Specs in words. Standard library only: whatever tells a run to people tells it alike."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, cast

from dregcli.names import Binarisation, LikelihoodName, Task

_TEXTS: Final = ("git.diff", "git.untracked_text.")
"""Of an environment: what is too long to be shown, and is told apart by its digest."""


def described(spec: Mapping[str, Any]) -> str:
    """``mnist, bottom half given top half (burda split, dynamic binarisation)``: what two bounds must share.

    Args:
        spec: a run's, as plain values.
    """
    halves = {
        Task.STRUCTURED: ", bottom half given top half",
        Task.STRUCTURED_REFERENCE: ", top half given bottom half as in the reference code",
    }.get(spec["task"], "")
    likelihood = spec.get("likelihood", LikelihoodName.BERNOULLI)
    parts = [f"{spec['split_convention']} split"]
    if spec["binarisation"] != Binarisation.NONE:
        parts.append(f"{spec['binarisation']} binarisation")
    if likelihood != LikelihoodName.BERNOULLI:
        parts.append(f"{likelihood} likelihood")
    return f"{spec['dataset']}{halves} ({', '.join(parts)})"


def seen_as(spec: Mapping[str, Any]) -> tuple[str, str, str]:
    """Task, binarisation and likelihood: what else two bounds on the same examples must share to be compared."""
    return str(spec["task"]), str(spec["binarisation"]), str(spec.get("likelihood", LikelihoodName.BERNOULLI))


def experiment_in_words(spec: Mapping[str, Any]) -> str:
    """All that matters of a spec but its seed, in one line.

    Args:
        spec: a run's, as plain values.
    """
    parent = spec.get("parent")
    anew = " started anew" if parent and parent["reset_encoder"] else ""
    origin = f", encoder{anew} on the model of {parent['run']} step {parent['checkpoint']}" if parent else ""
    return (
        f"{described(spec)}, {spec['objective']}/{spec['estimator']}, K={spec['k']}, batch {spec['batch_size']}, "
        f"lr {spec['lr']:g}, {spec['steps']} steps{origin}"
    )


def flat_environment(content: Mapping[str, Any]) -> dict[str, Any]:
    """An environment as one mapping, its long texts told by their digests."""
    return {name: _digested(value) if name.startswith(_TEXTS) else value for name, value in flat(content).items()}


def _digested(text: object) -> object:
    """A text told by its digest, so that two patches of one length are not the same."""
    if not isinstance(text, str) or not text:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{len(text):,} characters, SHA-256 {digest[:12]}"


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, their names joined by dots."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found |= flat(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
