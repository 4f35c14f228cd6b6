"""Read the checkpoint that a command names, and the spec of a run, without loading the engine."""

from collections.abc import Mapping
from typing import Any

from dregcli.errors import Fault, SpecError, StoreFormatError
from dregcli.specs.resolve import spec_faults
from dregcli.specs.run import RunSpec
from dregcli.store.checkpoints import Which
from dregcli.store.run import Run


def spec_of(run: Run) -> RunSpec:
    """Return the spec of a run.

    Raises:
        StoreFormatError: this version of the program does not know such a spec.
    """
    content = run.spec()
    if faults := spec_faults(content):
        what = "This version of dreg does not know the run's spec: " + "; ".join(map(str, faults))
        raise StoreFormatError(what, where=str(run.path / "spec.json"), hint="use the dreg version that wrote it")
    return RunSpec.model_validate(content)


def code_used(spec: RunSpec) -> dict[str, str]:
    """Return the digest of the code that built a model of the user's own; nothing for a built-in model."""
    return {"model_digest": spec.model_digest} if spec.model_digest else {}


def is_with_its_code(result: Mapping[str, Any], spec: RunSpec) -> bool:
    """Whether a result was made with the code with which the run took the steps to the result's checkpoint.

    Args:
        result: the result's ``checkpoint``, and what ``code_used`` returned for it.
        spec: spec of the run.
    """
    for each in spec.model_before:
        digest, _, last = each.partition("@")
        if last.isdecimal() and result["checkpoint"] <= int(last):
            return result.get("model_digest") == digest
    return result.get("model_digest") == spec.model_digest


def parse_checkpoint(text: str) -> Which:
    """Parse the word for a checkpoint: ``last``, ``best`` or a step.

    Raises:
        SpecError: the text is none of these.
    """
    if text == "last" or text == "best":
        return text
    if text.isdecimal():
        return int(text)
    raise SpecError([Fault("checkpoint", f"must be last, best or a step, got '{text}'.")])
