"""Build the module of a model from its class, with weights that follow from the run's seed."""

import random
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from dregcli.app.models.code import Code
from dregcli.app.models.importing import CORRECT, class_of, users_code
from dregcli.engine.checks.check import contract_faults
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.programs.trial import materialise, unsized
from dregcli.engine.randomness import Stream, address
from dregcli.errors import Fault, ModelFailed, SpecError
from dregcli.specs.models import settings_of
from dregcli.specs.run import RunSpec


def arguments_of(spec: RunSpec) -> dict[str, Any]:
    """Return the arguments of the constructor of a run's model: its settings of the spec and its other options."""
    return {**{name: getattr(spec, name) for name in settings_of(spec.model)}, **spec.model_options}


def make_module(code: Code, data: ModelData, options: Mapping[str, Any], *, seed: int) -> nn.Module:
    """Return the model, on the CPU, with the initial weights of a seed.

    Args:
        code: code of the model.
        data: what the model may know of its data.
        options: options of its constructor; see ``arguments_of``.
        seed: seed of the run.

    Raises:
        ModelFailed: the constructor raises an error.
        SpecError: the code has no such class.
    """
    kind = class_of(code)
    words = ", ".join(["data", *(f"{name}={value!r}" for name, value in options.items())])
    with seeded(address(seed, Stream.INITIALISATION)):
        with users_code(code, f"{code.name}({words}) fails"):
            made = kind(data, **options)
        if "_modules" not in vars(made):
            what = f"{code.name} does not call super().__init__() in its constructor."
            raise ModelFailed(what, where=str(code.path(code.main)) if code.files else None, hint="add this call")
        if unsized(made):
            materialise(made, data, seed=seed)
    return made


def make_model(code: Code, data: ModelData, options: Mapping[str, Any], *, seed: int) -> ProgramModel:
    """Return the model as one of the engine's; see ``make_module``.

    Raises:
        SpecError: the programs of the model do not fit the contract.
        ModelFailed: its code raises an error.
    """
    module = make_module(code, data, options, seed=seed)
    with users_code(code, f"{code.name} fails on examples of shape {data.shape}"):
        try:
            return ProgramModel(module, data)
        except SpecError:
            # The engine's own words have no place in the user's code.
            found = contract_faults(module, data)
            if not found:
                raise
    raise SpecError([Fault("model", each.sentence()) for each in found], hint=CORRECT)


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Seed the global generators of torch's CPU, numpy and Python inside the block, and restore them after it."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        # Not torch.manual_seed, which also seeds the generators of all GPUs.
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        with torch.device("cpu"):
            yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
