"""The decoder of a user's model as a program of torch alone."""

import io

import torch

from dregcli.app.runs.exported_programs import exported_programs
from dregcli.app.runs.loader_code import loader_of_programs
from dregcli.engine.loaded import LoadedModel
from dregcli.engine.programs.program_model import ProgramModel
from tests.support.plain_models import ConvVae, TwoLayers, small_data

DATA = small_data()


def test_the_decoder_of_a_users_model_is_exported() -> None:
    for module in (ConvVae(DATA), TwoLayers(DATA)):
        model = LoadedModel(ProgramModel(module, DATA), DATA, has_context=False)
        (content,) = exported_programs(model).values()
        decode = torch.export.load(io.BytesIO(content)).module()
        z = {name: torch.randn(5, *shape) for name, shape in model.latents.items()}
        torch.testing.assert_close(decode(*z.values()), model.decode(z).flatten(1))
        loader = loader_of_programs(model)
        assert len(loader.splitlines()) == 4
        assert "encode" not in loader
        assert all(f"{name} (B, 2)" in loader for name in z)
