"""The pictures that a model's distributions allow: prior samples, reconstructions and traversals."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dregcli.app.planning.run_data import RunData
from dregcli.app.sampling import pictures
from dregcli.app.sampling.by_layer import LayerPictures, layered
from dregcli.app.sampling.picture import Made, Picture, Traversed, traversed
from dregcli.app.sampling.pictures import Look
from dregcli.app.sampling.request import SampleRequest
from dregcli.engine.models.base import Model
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.randomness import Randomness
from dregcli.engine.sampling import (
    EXAMPLES_BLOCK,
    best_of_k,
    latent_variances,
    most_active,
    prior_images,
    seen_pixels,
)
from dregcli.errors import SpecError
from dregcli.names import Split, Task
from dregcli.specs.run import RunSpec


def make_pictures(
    model: Model, data: RunData, spec: RunSpec, asked: SampleRequest, k: int, count: int, look: Look
) -> Made:
    """Make all pictures that the model's distributions allow.

    Args:
        model: the model, in evaluation mode.
        data: data of the run.
        spec: spec of the run, with the device in use.
        asked: the request.
        k: posterior samples of which the best is shown.
        count: number of latents to traverse.
        look: how values are shown.

    Raises:
        SpecError: p(x | z) has no mean, so that there is no picture at all.
    """
    split, shown = Split(asked.split), asked.examples(spec.task)
    examples, randomness = data.examples(split), Randomness(asked.seed, torch.device(spec.device))

    def seen(limit: int | None) -> Iterator[Tensor]:
        return seen_pixels(examples, data.pixels, split=split, seed=spec.eval_seed, limit=limit)

    blocks = -(-shown // EXAMPLES_BLOCK) * EXAMPLES_BLOCK
    inputs = torch.cat(list(seen(blocks)))[:blocks]
    made, left_out = list[Picture](), dict[str, str]()
    try:
        made.append(_samples(model, inputs, randomness, asked, look, spec.task))
    except SpecError as error:
        left_out["samples"] = _reason(error)
    best = best_of_k(model, inputs, randomness, k=k)
    made.append(_reconstructions(inputs, best.images, asked, look, k, spec.task))
    if (several := layered(model)) is not None:
        variances = None
        if not model.no_means:
            variances = latent_variances(model, seen(None), split=split, seed=spec.eval_seed)
        own = LayerPictures(several, inputs, best, variances, randomness, asked, k, count, look).made()
        return Made([*made, *own.pictures], own.latents, left_out | own.left_out)
    if model.no_traversals:
        return Made(made, [], left_out | {"traversals": model.no_traversals})
    names = model.coordinates()
    variances = latent_variances(model, seen(None), split=split, seed=spec.eval_seed)
    latents = [
        Traversed(each, names[each], float(variances[each])) for each in most_active(variances, count, among=names)
    ]
    try:
        made.append(traversed(model, inputs[:1], latents, asked, look))
    except SpecError as error:
        return Made(made, [], left_out | {"traversals": _reason(error)})
    return Made(made, latents, left_out)


def make_samples(model: Model, known: ModelData, spec: RunSpec, asked: SampleRequest, look: Look) -> Made:
    """Make the pictures for which a model of whole images needs no example: the samples alone.

    Args:
        model: the model, in evaluation mode.
        known: what the checkpoint knows of the data, which are not on this machine.
        spec: spec of the run, with the device in use.
        asked: the request.
        look: how values are shown.

    Raises:
        SpecError: p(x | z) has no mean.
    """
    # A model of whole images takes nothing from this example, but it needs one of the right shape.
    example = known.mean.flatten()[None].to(spec.device)
    samples = _samples(model, example, Randomness(asked.seed, torch.device(spec.device)), asked, look, spec.task)
    why = f"the data set {spec.dataset} is not on this machine"
    return Made([samples], [], {"reconstructions": why, "traversals": why})


def _reason(error: SpecError) -> str:
    return error.faults[0].message.removesuffix(".")


def _samples(
    model: Model, inputs: Tensor, randomness: Randomness, asked: SampleRequest, look: Look, task: Task
) -> Picture:
    if task is Task.GENERATIVE:
        columns = asked.columns
        images = prior_images(model, inputs[:1], randomness, k=asked.n)
        grid = pictures.plain_grid(look.screen(images), columns=columns)
        return Picture("samples", "mean images E[x|z] for z from the prior", -(-asked.n // columns), columns, grid)
    rows, columns = asked.contexts
    contexts = inputs[:rows]
    images = prior_images(model, contexts, randomness, k=columns - 1).transpose(0, 1)
    heads = ["data", *["model"] * (columns - 1)]
    grid = pictures.led_rows(look.screen(contexts), look.screen(images), columns=columns - 1, heads=heads)
    what = f"left {asked.split} images, then mean images E[x|z,c] for z from the prior given the image's context c"
    return Picture("samples", what, rows, columns, grid)


def _reconstructions(inputs: Tensor, images: Tensor, asked: SampleRequest, look: Look, k: int, task: Task) -> Picture:
    pairs, columns = asked.pairs
    grid = pictures.pairs_grid(look.screen(inputs[:pairs]), look.screen(images[:pairs]), columns=columns)
    of = f"for the z with the largest weight of {k} from q" if k > 1 else "for a z from q"
    whole = "" if task is Task.GENERATIVE else ", the context unchanged"
    what = f"pairs: left a {asked.split} image as the model sees it, right the mean image {of}{whole}"
    return Picture("reconstructions", what, -(-pairs // columns), 2 * min(columns, pairs), grid)
