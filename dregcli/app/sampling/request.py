"""The options of ``dreg sample``, and the layout of its grids of images."""

import math
from dataclasses import dataclass

from dregcli.app.models.request import AS_TRAINED, CodeRequest
from dregcli.errors import Fault
from dregcli.names import Split, Task
from dregcli.specs.execution import AUTO
from dregcli.specs.resolve import setting_faults


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """A request for pictures of a run.

    Attributes:
        run: a name, or one version.
        checkpoint: last, best or a step.
        split: split of the examples.
        n: images in the grids of samples and of reconstructions.
        k: posterior samples of which the best is shown; None means the run's K.
        latents: number of latents to traverse; None means 10, or all if there are fewer.
        steps: number of values of each traversed latent, at least 2.
        seed: seed of the samples' noise.
        scale: screen pixels per pixel; None means that the size of the image decides.
        device: auto, cpu, cuda, cuda:N or mps.
        threads: CPU threads for torch, or auto.
        code: what the user says about the code of the run's model.
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
    device: str = AUTO
    threads: int | str = AUTO
    code: CodeRequest = AS_TRAINED

    def faults(self) -> list[Fault]:
        """Return all faults of the options that do not depend on a run."""
        wrong = {
            "split": (self.split not in list(Split), f"must be one of {', '.join(Split)}"),
            "n": (self.n < 1, "must be at least 1"),
            "k": (self.k is not None and self.k < 1, "must be at least 1"),
            "latents": (self.latents is not None and self.latents < 1, "must be at least 1"),
            "steps": (self.steps < 2, "must be at least 2"),
            "seed": (not 0 <= self.seed < 2**63, "must be at least 0 and less than 2^63"),
            "scale": (self.scale is not None and self.scale < 1, "must be at least 1"),
        }
        faults = [
            Fault(field, f"{why}, got {getattr(self, field)}.") for field, (is_so, why) in wrong.items() if is_so
        ]
        return faults + setting_faults(device=self.device, threads=self.threads)

    @property
    def columns(self) -> int:
        """Columns of an approximately square grid of n images."""
        return math.isqrt(self.n - 1) + 1

    @property
    def contexts(self) -> tuple[int, int]:
        """Rows and columns of a grid of about n images with completions; at least an image and one completion."""
        columns = max(2, self.columns)
        return -(-self.n // columns), columns

    @property
    def pairs(self) -> tuple[int, int]:
        """Number of pairs for about n images, and number of pairs in a row."""
        return max(1, self.n // 2), max(1, self.columns // 2)

    def examples(self, task: Task) -> int:
        """Return the number of examples of the split that are shown."""
        return max(self.pairs[0], 0 if task is Task.GENERATIVE else self.contexts[0])
