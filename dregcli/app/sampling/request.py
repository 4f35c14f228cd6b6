"""What a user asks of ``dreg sample``, and how grids of images are laid out for it."""

import math
from dataclasses import dataclass

from dregcli.errors import Fault
from dregcli.names import Split, Task


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """What is asked for.

    Attributes:
        run: a name, or one version.
        checkpoint: last, best or a step.
        split: of the examples.
        n: images in the grids of samples and of reconstructions.
        k: posterior samples of which the best is shown; None is the run's.
        latents: how many are traversed; None is 10, or all that there are.
        steps: values that each takes, at least 2.
        seed: of the samples' noise.
        scale: screen pixels of a pixel; None is by the image's size.
        device: auto, cpu or cuda.
    """

    run: str
    checkpoint: str = "last"
    split: str = Split.TEST.value
    n: int = 64
    k: int | None = None
    latents: int | None = None
    steps: int = 9
    seed: int = 0
    scale: int | None = None
    device: str = "auto"

    def faults(self) -> list[Fault]:
        """What cannot be, whatever the run."""
        wrong = {
            "split": (self.split not in list(Split), f"must be one of {', '.join(Split)}"),
            "n": (self.n < 1, "must be at least 1"),
            "k": (self.k is not None and self.k < 1, "must be at least 1"),
            "latents": (self.latents is not None and self.latents < 1, "must be at least 1"),
            "steps": (self.steps < 2, "must be at least 2"),
            "seed": (not 0 <= self.seed < 2**63, "must be at least 0 and less than 2^63"),
            "scale": (self.scale is not None and self.scale < 1, "must be at least 1"),
            "device": (self.device not in ("auto", "cpu", "cuda"), "must be auto, cpu or cuda"),
        }
        return [Fault(field, f"{why}, got {getattr(self, field)}.") for field, (is_so, why) in wrong.items() if is_so]

    @property
    def columns(self) -> int:
        """Of a grid of n images that is about square."""
        return math.isqrt(self.n - 1) + 1

    @property
    def contexts(self) -> tuple[int, int]:
        """Rows of a grid of completions of about n images, and columns: the image and one completion at least."""
        columns = max(2, self.columns)
        return -(-self.n // columns), columns

    @property
    def pairs(self) -> tuple[int, int]:
        """How many pairs make about n images, and how many of them are in a row."""
        return max(1, self.n // 2), max(1, self.columns // 2)

    def examples(self, task: Task) -> int:
        """Examples of the split that are shown."""
        return max(self.pairs[0], 0 if task is Task.GENERATIVE else self.contexts[0])
