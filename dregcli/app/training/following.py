"""What the ranks other than 0 do: they repeat each step of rank 0 on their own rows, and keep nothing."""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dregcli import __version__
from dregcli.app.common.interrupts import StopRequest, stop_requests
from dregcli.app.common.out_of_memory import memory_explained
from dregcli.app.common.ranks import END, joining, place_in
from dregcli.app.loading.bounds import bounds_of_batches
from dregcli.app.loading.build import build_trainer
from dregcli.app.models.code import CodeKind
from dregcli.app.models.find import find_code
from dregcli.app.planning.load_data import data_of
from dregcli.app.planning.run_data import RunData
from dregcli.app.training.crew import (
    ANSWER,
    COLLECT_AND_STEP,
    RUN_ENDS,
    STEP,
    WARM_UP,
    EvaluationOrder,
    RunOrder,
    parts_message,
)
from dregcli.engine.device import prepare_process, settled_process, using_threads
from dregcli.engine.process_group import ProcessGroup
from dregcli.engine.training import Trainer
from dregcli.errors import CodeRefused, Diverged, RankLost, Terminated

GRACE_SECONDS: Final = 15.0
"""How long after a signal a rank takes steps with the others. Rank 0 usually gets the signal too, and ends the run
after its step; an evaluation that comes before the end may last longer."""


@contextmanager
def one_of_the_ranks(data_dir: Path) -> Generator[bool]:
    """Tell whether this process runs the command: alone or as rank 0. Any other rank follows rank 0 to the end.

    Args:
        data_dir: the data folder.

    Raises:
        RankLost: rank 0 has ended without a word.
        Terminated: a signal came to this rank alone.
        Other errors: the rank has no data, or not the code of the model.
    """
    place = place_in(os.environ)
    if place is None:
        yield True
        return
    with joining(place) as group:
        if group.rank == 0:
            yield True
            return
        with stop_requests() as stop:
            _Follower(group, data_dir, stop).follow()
        yield False


def require_same_programs(order: RunOrder, *, rank: int) -> None:
    """Refuse to follow with other programs than those of rank 0. Source files of the user's come with the order.

    Raises:
        CodeRefused: dreg, or the package that the model comes from, has another version here.
    """
    code, hint = order.code, "install the same versions for every rank"
    if order.version != __version__:
        what = f"Rank {rank} has dreg {__version__}, and rank 0 has dreg {order.version}."
        raise CodeRefused(what, where=f"rank {rank}", hint=hint)
    if code is not None and code.kind is CodeKind.MODULE:
        here = find_code(f"{code.module}:{code.name}")
        if here.digest != code.digest:
            what = f"The package of the model {code.word} is not the same as on rank 0."
            raise CodeRefused(what, where=f"rank {rank}", hint=hint)


class _Follower:
    """A rank that does what rank 0 says.

    Args:
        group: all ranks.
        data_dir: the data folder.
        stop: the signals that came.
    """

    def __init__(self, group: ProcessGroup, data_dir: Path, stop: StopRequest) -> None:
        self._group, self._data_dir, self._stop = group, data_dir, stop
        self._leaves_at: float | None = None

    def follow(self) -> None:
        """Follow rank 0 through all runs of its command."""
        prepare_process()
        try:
            while (message := self._next()) != END:
                self._run(RunOrder.of(message))
        except RankLost as error:
            # After a signal or an error of its own rank 0 leaves in the middle of a step, and has said why. Of the
            # other ranks one is enough to say that it is alone.
            if self._stop.received is None and self._group.rank == 1:
                hint = "the message of rank 0 says what was kept, unless rank 0 was killed"
                raise RankLost(error.what, where=f"rank {self._group.rank}", hint=hint) from error

    def _next(self) -> bytes:
        message = self._group.heard()
        if self._stop.received is not None and message in (STEP, COLLECT_AND_STEP):
            now = time.monotonic()
            self._leaves_at = self._leaves_at or now + GRACE_SECONDS
            if now > self._leaves_at:
                what = f"Stopped by {self._stop.received.name}, which came to this rank alone."
                raise Terminated(what, where=f"rank {self._group.rank}")
        return message

    def _run(self, order: RunOrder) -> None:
        require_same_programs(order, rank=self._group.rank)
        self._group.use(order.spec.device)
        data = data_of(order.spec, self._data_dir)
        trainer = build_trainer(order.spec, data, order.code)
        state = order.state
        trainer.load(state.step, state.model, state.optimizer, state.window)
        with using_threads(order.spec.threads), settled_process(), memory_explained(order.spec):
            while (message := self._next()) != RUN_ENDS:
                self._do(message, trainer, data)

    def _do(self, message: bytes, trainer: Trainer, data: RunData) -> None:
        if message in (STEP, COLLECT_AND_STEP):
            if message == COLLECT_AND_STEP:
                trainer.collect()
            # Rank 0 finds the same numbers in the same step, and ends the run.
            with suppress(Diverged):
                trainer.advance()
        elif message == WARM_UP:
            trainer.warm_up()
        elif message == ANSWER:
            self._group.answer(b"")
        else:
            self._evaluate(EvaluationOrder.of(message), trainer, data)

    def _evaluate(self, order: EvaluationOrder, trainer: Trainer, data: RunData) -> None:
        with trainer.trained.holding(order.weights):
            parts = bounds_of_batches(
                trainer.model,
                data,
                order.split,
                k=order.k,
                seed=order.seed,
                k_chunk=order.k_chunk,
                limit=order.limit,
                first=self._group.rank,
                every=self._group.size,
            )
        self._group.answer(parts_message(parts))
