"""One picture of a model, and the latents that a traversal moves."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from torch import Tensor

from dregcli.app.sampling import pictures
from dregcli.app.sampling.pictures import Look
from dregcli.app.sampling.request import SampleRequest
from dregcli.engine.models.base import Model
from dregcli.engine.sampling import traversals

REACH: Final = 3.0
"""Range of traversals on both sides of the prior's mean, in standard deviations of the prior."""


@dataclass(frozen=True)
class Picture:
    """One grid of images.

    Attributes:
        kind: samples, reconstructions or traversals.
        what: description in words.
        rows: rows of images.
        columns: columns of images.
        grid: pixels, shape (3, H, W), in [0, 1].
    """

    kind: str
    what: str
    rows: int
    columns: int
    grid: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in screen pixels."""
        return self.grid.shape[2], self.grid.shape[1]


@dataclass(frozen=True)
class Traversed:
    """One number of the latents that a traversal moves.

    Attributes:
        index: index of the number among all numbers of the latents.
        name: name of the latent, with the number's place in it.
        variance: variance over examples of q's mean.
    """

    index: int
    name: str
    variance: float


@dataclass(frozen=True)
class Made:
    """All pictures of a request.

    Attributes:
        pictures: the pictures.
        latents: traversed numbers of the latents in the order of the picture.
        left_out: the reason for each picture that could not be made, by its kind.
    """

    pictures: list[Picture]
    latents: list[Traversed]
    left_out: dict[str, str]


def traversed(
    model: Model,
    example: Tensor,
    latents: list[Traversed],
    asked: SampleRequest,
    look: Look,
    *,
    kind: str = "traversals",
    lead: str = "at q's mean",
) -> Picture:
    """Return the picture of a traversal.

    Args:
        model: the model.
        example: the example whose latents move, (1, D).
        latents: the numbers that move, one in each row.
        asked: the request.
        look: how values are shown.
        kind: name of the picture.
        lead: what the left image is, in words.
    """
    offsets: list[float] = np.linspace(-REACH, REACH, asked.steps).tolist()
    still, images = traversals(model, example, [each.index for each in latents], offsets)
    grid = pictures.led_rows(
        look.screen(still),
        look.screen(images),
        columns=asked.steps,
        heads=["mean", *(f"{offset:+.3g}" if offset else "0" for offset in offsets)],
        rows=[each.name for each in latents],
    )
    what = (
        f"one row per latent, in the table's order: left the mean image {lead} for the first {asked.split} "
        f"image, then with the latent at {-REACH:g} to {REACH:g} standard deviations of the prior"
    )
    return Picture(kind, what, len(latents), asked.steps + 1, grid)
