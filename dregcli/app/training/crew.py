"""The other ranks of a run, as the session on rank 0 sees them: it tells them what to do and keeps everything itself.

The other ranks know nothing of steps to come, of signals or of the store. They repeat each step of rank 0 on their
own rows (``dregcli.app.training.following``).
"""

import io
import json
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from dregcli import __version__
from dregcli.app.loading.bounds import Parts
from dregcli.app.models.code import Code
from dregcli.app.planning.plan import Plan
from dregcli.engine.models.base import Model
from dregcli.engine.process_group import ProcessGroup
from dregcli.engine.training import Trainer, TrainerState
from dregcli.errors import Diverged, RankLost
from dregcli.names import Split
from dregcli.specs.run import RunSpec

WARM_UP: Final = b"warm up"
STEP: Final = b"step"
COLLECT_AND_STEP: Final = b"collect and step"
"""Rank 0 has fetched the numbers of the steps before, and they are finite. All ranks fetch them at the same steps: a
rank that found earlier than rank 0 that a number is not finite would stop, and leave rank 0 waiting."""
ANSWER: Final = b"answer"
"""Answer at once, to show that the rank is still there."""
RUN_ENDS: Final = b"run ends"


@dataclass(frozen=True)
class RunOrder:
    """Begin a run.

    Attributes:
        spec: the run.
        code: code of the model, for every model that is no built-in network.
        state: where the trainer starts.
        version: dreg's version on rank 0.
    """

    spec: RunSpec
    code: Code | None
    state: TrainerState
    version: str = __version__

    def message(self) -> bytes:
        """Return the order as bytes."""
        state = self.state
        about = {
            "spec": self.spec.model_dump(mode="json"),
            "code": None if self.code is None else self.code.document(),
            "version": self.version,
            "step": state.step,
            "window": state.window,
        }
        tensors = {f"model.{name}": each for name, each in state.model.items()}
        return _packed(about, tensors | {f"optimizer.{name}": each for name, each in state.optimizer.items()})

    @classmethod
    def of(cls, message: bytes) -> "RunOrder":
        """Return the order that a message has."""
        about, tensors = _unpacked(message)
        model, optimizer = (
            {name.removeprefix(part): each for name, each in tensors.items() if name.startswith(part)}
            for part in ("model.", "optimizer.")
        )
        code = None if about["code"] is None else Code.parse(about["code"])
        state = TrainerState(about["step"], model, optimizer, about["window"])
        return cls(RunSpec.model_validate(about["spec"]), code, state, about["version"])


@dataclass(frozen=True)
class EvaluationOrder:
    """Evaluate a model on this rank's batches of a split.

    Attributes:
        split: the split.
        k: samples per example.
        seed: seed of the evaluation.
        k_chunk: samples that are computed at once; None means all.
        limit: number of examples; None means all.
        weights: the model.
    """

    split: Split
    k: int
    seed: int
    k_chunk: int | None
    limit: int | None
    weights: Mapping[str, Tensor]

    def message(self) -> bytes:
        """Return the order as bytes."""
        names = ("split", "k", "seed", "k_chunk", "limit")
        return _packed({name: getattr(self, name) for name in names}, self.weights)

    @classmethod
    def of(cls, message: bytes) -> "EvaluationOrder":
        """Return the order that a message has."""
        about, weights = _unpacked(message)
        about["split"] = Split(about["split"])
        return cls(**about, weights=weights)


def _packed(about: dict[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    head = json.dumps(about).encode()
    return len(head).to_bytes(8, "little") + head + save_tensors({n: t.contiguous() for n, t in tensors.items()})


def _unpacked(message: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    end = 8 + int.from_bytes(message[:8], "little")
    return json.loads(message[8:end]), load_tensors(message[end:])


def parts_message(parts: Parts) -> bytes:
    """Return the arrays of an evaluation as bytes."""
    named: Any = {f"{i} {name}": each for name, arrays in parts.items() for i, each in enumerate(arrays)}
    buffer = io.BytesIO()
    np.savez(buffer, **named)
    return buffer.getvalue()


def parts_of(message: bytes) -> Parts:
    """Return the arrays that a message has."""
    found: Parts = {}
    with np.load(io.BytesIO(message), allow_pickle=False) as stored:
        for key in stored.files:
            found.setdefault(key.partition(" ")[2], []).append(stored[key])
    return found


class Crew:
    """The other ranks of one run; without any, every order does nothing.

    Args:
        group: all ranks; None if this process is alone.
    """

    def __init__(self, group: ProcessGroup | None) -> None:
        self._group = group
        self._has_begun = self._is_busy = False

    def begin(self, plan: Plan, trainer: Trainer) -> None:
        """Let the other ranks begin the run where the trainer is.

        Raises:
            RankLost: a rank has ended, or an earlier run ended in the middle of a step.
        """
        if self._group is None:
            return
        if self._group.is_lost:
            what = "The other ranks are gone since an earlier run."
            raise RankLost(what)
        self._group.tell(RunOrder(plan.spec, plan.code, trainer.state()).message())
        self._has_begun = True
        self._group.use(plan.spec.device)

    @property
    def size(self) -> int:
        """Number of ranks, with this one."""
        return 1 if self._group is None else self._group.size

    def advance(self, trainer: Trainer) -> None:
        """Take a step on all ranks."""
        with self.together(COLLECT_AND_STEP if trainer.is_collected else STEP):
            trainer.advance()

    @contextmanager
    def together(self, order: bytes) -> Generator[None]:
        """Do something together with the other ranks.

        If it fails here, they are in the middle of it. Then they are left, which ends them.
        """
        if self._group is None:
            yield
            return
        self._group.tell(order)
        self._is_busy = True
        try:
            yield
            self._is_busy = False
        except Diverged:
            self._is_busy = False  # every rank finds it, between two exchanges
            raise
        except BaseException:
            self._group.leave()
            raise

    @contextmanager
    def evaluating(
        self, model: Model, split: Split, *, k: int, seed: int, k_chunk: int | None, limit: int | None
    ) -> Generator["OthersOfGroup | None"]:
        """Let the other ranks evaluate their batches, while the block evaluates those of this rank."""
        if self._group is None:
            yield None
            return
        # Tied weights have several names, but safetensors refuses tensors that share memory.
        weights = {name: each.detach().clone() for name, each in model.state_dict().items()}
        with self.together(EvaluationOrder(split, k, seed, k_chunk, limit, weights).message()):
            yield OthersOfGroup(self._group)

    def lost(self) -> RankLost | None:
        """Return the error if a rank has ended, and None if all of them answer or are in the middle of something."""
        if self._group is None or self._is_busy:
            return None
        try:
            with self.together(ANSWER):
                self._group.answers()
        except RankLost as error:
            return error
        return None

    def end(self) -> None:
        """Let the other ranks end the run and wait for the next one."""
        if self._group is not None and self._has_begun and not self._group.is_lost:
            self._group.tell(RUN_ENDS)
        self._has_begun = False


@dataclass(frozen=True)
class OthersOfGroup:
    """The other ranks in an evaluation.

    Attributes:
        group: all ranks.
        began: when the evaluation began, by the monotonic clock.
    """

    group: ProcessGroup
    began: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self.group.size

    def parts(self) -> list[Parts]:
        """Return what each of the other ranks has found."""
        return [parts_of(each) for each in self.group.answers(work_seconds=time.monotonic() - self.began)]
