"""The pictures that show what each layer of a model with several layers stores."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from dregcli.app.sampling import pictures
from dregcli.app.sampling.picture import Made, Picture, Traversed, traversed
from dregcli.app.sampling.pictures import Look
from dregcli.app.sampling.request import SampleRequest
from dregcli.engine.layer_sampling import layer_reconstructions, layer_samples
from dregcli.engine.models.base import Layer, Model
from dregcli.engine.programs.values import ProgramValues
from dregcli.engine.randomness import Randomness
from dregcli.engine.sampling import Reconstructions, most_active
from dregcli.errors import SpecError
from dregcli.wording import listed

DRAWS: Final = 3
"""Draws of the layers below for each image in the picture of reconstructions from each layer."""


def layered(model: Model) -> ProgramValues | None:
    """Return the model if it has several layers, otherwise None."""
    return model if isinstance(model, ProgramValues) and len(model.layers()) > 1 else None


@dataclass(frozen=True)
class LayerPictures:
    """Makes the pictures by layer.

    Attributes:
        model: the model, in evaluation mode.
        inputs: whole blocks of examples as the model sees them, (B, D).
        best: reconstructions of these examples from all layers.
        variances: variance over examples of q's mean for each number of the latents, (Z,); None if q has no means.
        randomness: random numbers on the model's device.
        asked: the request.
        k: posterior samples of which the best is shown.
        count: number of latents to traverse in each layer.
        look: how values are shown.
    """

    model: ProgramValues
    inputs: Tensor
    best: Reconstructions
    variances: Tensor | None
    randomness: Randomness
    asked: SampleRequest
    k: int
    count: int
    look: Look

    def made(self) -> Made:
        """Return all pictures by layer, and the reason for each that could not be made."""
        layers = self.model.layers()
        names = [layer.name for layer in layers]
        made, latents, left_out = [self._reconstructions(names)], list[Traversed](), dict[str, str]()
        for i in range(1, len(names)):
            kind = _kind("samples", names[i])
            try:
                made.append(self._samples(kind, names, i))
            except SpecError as error:
                left_out[kind] = _reason(error)
        for i, layer in enumerate(layers):
            kind = _kind("traversals", layer.name)
            moved = self._most_active(layer)
            try:
                if not moved:
                    left_out[kind] = self.model.no_means or self.model.cannot_move(layer.name) or ""
                else:
                    made.append(self._traversals(kind, names, i, moved))
                    latents += moved
            except SpecError as error:
                left_out[kind] = _reason(error)
        return Made(made, latents, left_out)

    def _samples(self, kind: str, names: Sequence[str], i: int) -> Picture:
        """Return rows of samples whose layers from the i-th on are the same within a row."""
        rows = columns = self.asked.columns
        images = layer_samples(self.model, self.inputs, self.randomness, names[i], k=rows, count=columns)
        grid = pictures.plain_grid(self.look.screen(images.flatten(0, 1)), columns=columns)
        what = f"each row has one {listed(names[i:])} from the prior; its images differ only in {listed(names[:i])}"
        return Picture(kind, f"{what}, drawn anew from the prior given the layers above", rows, columns, grid)

    def _reconstructions(self, names: Sequence[str]) -> Picture:
        """Return rows of an image, its reconstruction from all layers, and from fewer and fewer of them."""
        rows = min(self.asked.columns, self.asked.pairs[0])
        groups = [self.best.images.unsqueeze(1)]
        groups += [
            layer_reconstructions(
                self.model, self.inputs, self.randomness, name, self.best.chosen, k=self.k, count=DRAWS
            )
            for name in names[1:]
        ]
        images = torch.cat(groups, dim=1)[:rows]
        heads = ["data", "all", *(f"from {name}" for name in names[1:] for _ in range(DRAWS))]
        grid = pictures.led_rows(
            self.look.screen(self.inputs[:rows]),
            self.look.screen(images.flatten(0, 1)),
            columns=images.shape[1],
            heads=heads,
        )
        what = (
            f"one row per {self.asked.split} image: left the image, then its reconstruction from all layers, then "
            f"{DRAWS} images from {listed(names[1:])}{' each' if len(names) > 2 else ''}: this layer and the layers "
            "above are as in the reconstruction, and the layers below are drawn from their priors"
        )
        return Picture("reconstructions-layers", what, rows, images.shape[1] + 1, grid)

    def _most_active(self, layer: Layer) -> list[Traversed]:
        """Return the numbers of a layer that can move, the most active first."""
        if self.variances is None:
            return []
        names, variances = self.model.coordinates(), self.variances
        among = [column for column in layer.columns if column in names]
        chosen = most_active(variances, self.count, among=among)
        return [Traversed(each, names[each], float(variances[each])) for each in chosen]

    def _traversals(self, kind: str, names: Sequence[str], i: int, moved: list[Traversed]) -> Picture:
        lead = f"with {listed(names[i:])} at q's mean"
        lead += f" and {listed(names[:i])} at the prior's mean given the layers above," if i else ""
        return traversed(self.model, self.inputs[:1], moved, self.asked, self.look, kind=kind, lead=lead)


def _kind(what: str, layer: str) -> str:
    """Return the name of a layer's picture, which is also the name of its file."""
    return f"{what}-layer-{re.sub('[^A-Za-z0-9_]+', '_', layer)}"


def _reason(error: SpecError) -> str:
    return error.faults[0].message.removesuffix(".")
