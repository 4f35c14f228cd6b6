"""Real ranks: processes with the environment that torchrun gives, without the launcher, which starts slowly."""

import os
import socket
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch.distributed as dist

from tests.support.forked import CONTEXT, Forked

Named = dict[str, list[Any]]


def environments(size: int) -> list[dict[str, str]]:
    """The environment of each of so many ranks."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]


def ranks_of(words: list[str], size: int, folder: Path) -> list[Forked]:
    """Start the same command on so many ranks."""
    return [
        Forked(words, folder / str(rank), environment=environment)
        for rank, environment in enumerate(environments(size))
    ]


def found_on_ranks(work: Callable[[int, int], Named], size: int) -> list[Named]:
    """What a function, called with its rank and their number in a process of each, returns there."""
    started: list[tuple[Any, Connection]] = []
    for environment in environments(size):
        ours, theirs = CONTEXT.Pipe(duplex=False)
        process: Any = CONTEXT.Process(target=_work, args=(work, environment, theirs))
        process.start()
        theirs.close()
        started.append((process, ours))
    found: list[Named] = []
    for process, connection in started:
        assert connection.poll(60.0), "a rank hangs"
        found.append(connection.recv())
        process.join(60.0)
    return found


def _work(work: Callable[[int, int], Named], environment: Mapping[str, str], answers: Connection) -> None:
    os.environ.update(environment)
    dist.init_process_group("gloo")
    answers.send(work(dist.get_rank(), dist.get_world_size()))
    dist.destroy_process_group()
