"""Nine kills in every run of the tests; ``python -m tests.crash --kills 300`` for more."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dregcli.filesystem import discard
from dregcli.store import checkpoints, hdf5, layout, metrics
from dregcli.store.run import Run
from tests.crash.harness import campaign, differences, only_run
from tests.support.store_faults import CountingFileSystem

KILLS, PER_RUN = 9, 3
"""Three kills of the run of each variant."""


def test_nothing_is_lost_and_no_byte_differs(references: dict[str, Run], tmp_path: Path) -> None:
    tally = campaign(tmp_path, references, KILLS, seed=0, per_run=PER_RUN)
    assert tally.lost == []
    assert tally.differing == []
    # Runs may be done before their moment comes, so that a few kills are missed.
    assert sum(tally.kills.values()) >= KILLS - 3
    assert tally.landed.get("with a checkpoint", 0) >= 2


@pytest.fixture
def twins(references: dict[str, Run], tmp_path: Path) -> tuple[Run, Run]:
    right = references["dreg-cv"]
    return right, only_run(Path(shutil.copytree(right.path.parents[1], tmp_path / "twin")))


def test_an_altered_row_of_metrics_is_seen(twins: tuple[Run, Run]) -> None:
    right, wrong = twins
    assert differences(wrong, right) == []
    splits = metrics.read(wrong.path)
    bound = splits["train"]["bound"]
    bound[3] = np.nextafter(bound[3], 0.0)
    arrays = {f"{split}/{name}": column for split, columns in splits.items() for name, column in columns.items()}
    path = wrong.path / layout.METRICS_FILE
    path.write_bytes(hdf5.encode(metrics.KIND, arrays=arrays, attrs=hdf5.read(path, metrics.KIND).attrs))
    assert differences(wrong, right) == ["train: bound"]


@pytest.mark.parametrize("part", ["model", "optimizer"])
def test_an_altered_tensor_is_seen(twins: tuple[Run, Run], part: str) -> None:
    right, wrong = twins
    found = wrong.load_checkpoint("last")
    name, tensor = sorted(getattr(found, part).items())[0]
    other = tensor.clone()
    other.view(-1)[0] += 1e-6
    found = replace(found, **{part: {**getattr(found, part), name: other}})
    fs, home = CountingFileSystem(), wrong.path / layout.CHECKPOINTS_FOLDER
    best = wrong.best() == found.step
    discard(fs, home / layout.step_name(found.step))
    checkpoints.save(
        fs,
        wrong.path,
        found.step,
        model=found.model,
        optimizer=found.optimizer,
        state=found.state,
        about=found.about,
        data=found.data,
        is_best=best,
        keep_last=2,
    )
    assert differences(wrong, right) == [f"{part}: {name}"]
