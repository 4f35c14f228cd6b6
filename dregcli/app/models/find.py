"""Find the code that a user asks for, and the settings of the spec that follow from it."""

from dregcli.app.models.captured import lies_in_a_run
from dregcli.app.models.code import Code
from dregcli.app.models.constructor import Value, read_options
from dregcli.app.models.gather import gather
from dregcli.app.models.importing import class_of
from dregcli.app.models.words import read_word
from dregcli.errors import Fault, SpecError
from dregcli.specs.models import is_network, settings_of
from dregcli.specs.options import RunOptions
from dregcli.specs.run import RunSpec


def find_code(word: str) -> Code:
    """Return the code that a word for ``--model`` names, other than a built-in network. None of it is run.

    Raises:
        SpecError: there is no such model.
        ModelFailed: the file is not valid Python.
    """
    return gather(read_word(word))


def asked_code(options: RunOptions) -> tuple[Code | None, list[Fault]]:
    """Return the code of the model that a user asks for, and every fault; no code for a built-in network.

    Code with a fault is not returned, so that it is not run.

    Raises:
        ModelFailed: the file is not valid Python.
    """
    if is_network(options.model):
        message = f"{options.model} has no such options: leave --model-option out, or name a class with --model."
        return None, [Fault("model-option", message)] if options.model_options else []
    try:
        code = find_code(options.model)
    except SpecError as error:
        return None, list(error.faults)
    if options.model_digest not in (None, code.digest):
        message = (
            f"the code of {options.model} on this machine has the SHA-256 {str(code.digest)[:16]}, but the spec has "
            f"{options.model_digest[:16]}: to use the code as it is now, give --model {options.model}."
        )
        return None, [Fault("model-digest", message)]
    if code.place and lies_in_a_run(code.place):
        message = (
            f"{code.path(code.main)} lies in a run, and code that may have come with a run is not run by itself: "
            "read it, copy it to a folder of your own, and name the copy."
        )
        return None, [Fault("model", message)]
    return code, []


def constructor_options(code: Code, given: dict[str, Value]) -> tuple[dict[str, Value], list[Fault]]:
    """Return the options of a model's constructor as a spec has them, and every fault. This imports the code.

    Raises:
        SpecError: the code has no such class, or the class is no model.
        ModelFailed: the code raises an error.
    """
    return read_options(class_of(code), given, settings=tuple(settings_of(code.word)))


def with_code(spec: RunSpec, code: Code) -> RunSpec:
    """Return the spec of a run whose model is built by some code.

    Raises:
        SpecError: the constructor does not take the options of the spec.
        Other errors: see ``constructor_options``.
    """
    if spec.model_digest == code.digest and spec.model == code.word:
        return spec
    options, faults = constructor_options(code, spec.model_options)
    if faults:
        raise SpecError(faults, where=code.place, hint="name the class with which the run was made")
    changes = {"model": code.word, "model_digest": code.digest, "model_options": options}
    return RunSpec.model_validate(spec.model_dump() | changes)
