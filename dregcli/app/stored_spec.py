"""The spec that a run was made with, as this program knows specs."""

from dregcli.errors import StoreFormatError
from dregcli.specs.resolve import spec_faults
from dregcli.specs.run import RunSpec
from dregcli.store.run import Run


def spec_of(run: Run) -> RunSpec:
    """The spec of a run.

    Raises:
        StoreFormatError: this program does not know such a spec.
    """
    content = run.spec()
    if faults := spec_faults(content):
        what = "The run's spec is not one this version of dreg knows: " + "; ".join(map(str, faults))
        raise StoreFormatError(what, where=str(run.path / "spec.json"), hint="use the dreg version that wrote it")
    return RunSpec.model_validate(content)
