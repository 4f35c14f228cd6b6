"""The program that loads an exported model with torch and safetensors alone, in at most 15 lines."""

from typing import Final

from dregcli.engine.likelihoods import LIKELIHOODS
from dregcli.engine.likelihoods.discretised_logistic import SCALE_FLOOR
from dregcli.engine.loaded import LoadedModel
from dregcli.engine.models.networks import RAW_SCALE_OFFSET
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.names import LikelihoodName, ModelName, Task
from dregcli.posteriors import Family
from dregcli.specs.models import is_network
from dregcli.specs.run import RunSpec

LOADER: Final = "load.py"
WEIGHTS: Final = "model.safetensors"
PROGRAMS: Final = {"encoder": "encoder.pt2", "decoder": "decoder.pt2"}
"""The files of exported programs, by network."""

_HEAD: Final = f"""\
from pathlib import Path
import torch.nn.functional as F
from safetensors.torch import load_file
T = load_file(Path(__file__).with_name("{WEIGHTS}"))
def network(name, x):
    for i in range(sum(key.startswith(f"{{name}}.") for key in T) // 2):
        x = F.linear(x.tanh() if i else x, T[f"{{name}}.{{i}}.weight"], T[f"{{name}}.{{i}}.bias"])
    return x
"""

_ENCODE: Final = f"""\
def encode(x):  # examples (B, D); returns mean and standard deviation of q(z | x), (B, Z) each
    mean, raw = network("encoder", {{inputs}}).chunk(2, -1)
    return mean, F.softplus(raw + {RAW_SCALE_OFFSET})
"""

_DECODE: Final = "def decode(z):  # latents (..., Z); returns the mean of x, (..., D)\n"

_MEANS: Final = {
    LikelihoodName.BERNOULLI: '    return network("decoder", z).sigmoid()\n',
    LikelihoodName.GAUSSIAN: '    return T["likelihood.spread"] * network("decoder", z).chunk(2, -1)[0]\n',
    LikelihoodName.DISCRETISED_LOGISTIC: f"""\
    (loc, raw), unit = network("decoder", z).chunk(2, -1), T["likelihood.spread"] * {{levels}}
    scale = unit * F.softplus(raw) + {SCALE_FLOOR}
    return sum(((unit * loc - y - 0.5) / scale).sigmoid() for y in range({{levels}})) / {{levels}}
""",
}

_LINEAR: Final = """\
    return T["unit"] * F.linear(z, T["decoder.weight"], T["decoder.bias"])
"""

_OF_PROGRAMS: Final = """\
from pathlib import Path
import torch
HERE = Path(__file__).parent
"""

_PROGRAM: Final = '{name} = torch.export.load(HERE / "{file}").module()  # {what}\n'


def loader_code(spec: RunSpec, levels: int) -> str | None:
    """Return the program for a built-in network of whole images with a diagonal posterior; None for other models.

    Args:
        spec: spec of the run.
        levels: see ``ModelData``.
    """
    usual = is_network(spec.model) and spec.posterior in (None, Family.DIAGONAL)
    if spec.task is not Task.GENERATIVE or not usual:
        return None
    assert spec.likelihood is not None
    is_linear = spec.model == ModelName.LINEAR_GAUSSIAN
    is_divided = is_linear or LIKELIHOODS[spec.likelihood].standardises
    inputs = '(x - T["mean"]) / T["spread"]' if is_divided else 'x - T["mean"]'
    mean = _LINEAR if is_linear else _MEANS[spec.likelihood].format(levels=levels)
    return _HEAD + _ENCODE.format(inputs=inputs) + _DECODE + mean


def loader_of_programs(model: LoadedModel) -> str:
    """Return the program that loads exported programs, for a model that only they describe."""
    latents = ", ".join(f"{name} (B, {', '.join(map(str, shape))})" for name, shape in model.latents.items())
    context = " and images with the context (B, D)" if model.has_context else ""
    decode = _PROGRAM.format(
        name="decode", file=PROGRAMS["decoder"], what=f"latents {latents}{context}; the mean of x, (B, D)"
    )
    if isinstance(model.network, ProgramModel):
        return _OF_PROGRAMS + decode
    encode = "examples (B, D); mean and standard deviation of q(z | x), (B, Z) each"
    return _OF_PROGRAMS + _PROGRAM.format(name="encode", file=PROGRAMS["encoder"], what=encode) + decode
