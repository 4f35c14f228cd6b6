"""Specs in words. Standard library only: whatever tells a run to people tells it alike."""

from collections.abc import Mapping
from typing import Any

from dregcli.names import Binarisation, LikelihoodName, Task


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
