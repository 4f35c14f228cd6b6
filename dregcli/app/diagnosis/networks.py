"""Refuse models that have no gradient to measure."""

from dregcli.app.diagnosis.subject import Subject
from dregcli.commands import command
from dregcli.errors import Fault, SpecError


def check_networks(subject: Subject) -> None:
    """Refuse a model of which a network has no parameter, such as one whose decoder is frozen.

    Raises:
        SpecError: the gradient of one of the two networks has no coordinate.
    """
    model = subject.model
    parts = {"log p(x, z)": model.model_parameters(), "q": model.posterior_parameters()}
    for what, parameters in parts.items():
        if not parameters.keys() - set(model.unreached):
            message = f"{what} of {subject.spec.model} depends on no parameter that is trained: there is no gradient."
            hint = f"check its bias instead: {command('bias-check', subject.run.label)}"
            raise SpecError([Fault("run", message)], where=str(subject.run.path), hint=hint)
