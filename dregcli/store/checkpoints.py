"""Checkpoints: folders that appear only when complete, are verified before parsing, and replace each other safely.

``checkpoints/step-00001000/`` holds ``model.safetensors``, ``optimizer.safetensors``, ``state.json``, what the model
needs to be built without its data set (``model.json`` and ``data.safetensors``), and ``manifest.json`` with the size
and SHA-256 of each. No pickle is ever written or read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from dregcli.commands import command
from dregcli.errors import CheckpointCorrupt, DregError, RunNotFound, StoreCorrupt
from dregcli.filesystem import (
    FileSystem,
    discard,
    make_folders,
    move,
    write_aside,
    write_folder_aside,
)
from dregcli.store import documents, layout
from dregcli.store.tensors import read_tensors, tensor_bytes

if TYPE_CHECKING:
    from torch import Tensor

_KIND: Final = "checkpoint"
_MANIFEST: Final = "manifest.json"
_MODEL: Final = "model.safetensors"
_OPTIMIZER: Final = "optimizer.safetensors"
_STATE: Final = "state.json"
_ABOUT: Final = "model.json"
_DATA: Final = "data.safetensors"
_CONTENT: Final = (_MODEL, _OPTIMIZER, _STATE)
_LATER: Final = (_ABOUT, _DATA)
"""Files that checkpoints of earlier versions lack."""
FILES: Final = (*_CONTENT, *_LATER, _MANIFEST)

Which = int | Literal["last", "best"]


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint.

    Args:
        step: the optimisation step of the checkpoint.
        model: the model's tensors by name, on the CPU.
        optimizer: the optimizer's tensors by name, on the CPU.
        state: everything else that resuming needs.
        about: the description of the model and of its data; empty if an earlier version wrote the checkpoint.
        data: what the model knows of the values of its data, by name; empty in the same case.
        skipped: checkpoints that were tried first and are corrupt, each with its fault, for the user.
    """

    step: int
    model: "dict[str, Tensor]"
    optimizer: "dict[str, Tensor]"
    state: dict[str, Any]
    about: dict[str, Any] = field(default_factory=dict[str, Any])
    data: "dict[str, Tensor]" = field(default_factory=lambda: {})
    skipped: tuple[str, ...] = ()


def steps(folder: Path) -> list[int]:
    """Return the steps of a run's checkpoints, ascending, including damaged checkpoints."""
    found = [(layout.parse_step(name), name) for name in layout.entries(folder / layout.CHECKPOINTS_FOLDER)]
    return sorted(step for step, name in found if step is not None and name == layout.step_name(step))


def best(folder: Path) -> int | None:
    """Return the step of the best checkpoint, or None where none is marked (or its manifest is corrupt)."""
    marked = [step for step in steps(folder) if _is_best(_home(folder, step))]
    return marked[-1] if marked else None


def is_whole(folder: Path, step: int) -> bool:
    """Whether a run has an undamaged checkpoint of a step."""
    try:
        check_folder(_home(folder, step))
    except CheckpointCorrupt:
        return False
    return True


def load(folder: Path, which: Which) -> Checkpoint:
    """Read a checkpoint, which is verified before it is parsed.

    Args:
        folder: the run.
        which: a step, or ``last`` or ``best``. If that checkpoint is corrupt, ``last`` falls back to the newest
            undamaged one before it, and ``best`` to the best one before it and then to the newest undamaged one.

    Raises:
        RunNotFound: there is no such checkpoint.
        CheckpointCorrupt: the checkpoint of the given step is corrupt, or all checkpoints are.
    """
    known = steps(folder)
    hint = f"it has checkpoints of step {', '.join(map(str, known))}" if known else "train it: dreg train --help"
    if isinstance(which, int):
        if which not in known:
            what = f"This run has no checkpoint of step {which}."
            raise RunNotFound(what, where=str(folder), hint=hint)
        return _load_step(folder, which, ())
    candidates = known[::-1]
    if which == "best":
        # A checkpoint whose manifest cannot be read may be the best: it is tried, and so appears among the skipped.
        candidates.sort(key=lambda step: _is_best(_home(folder, step)) is False)
        if candidates and _is_best(_home(folder, candidates[0])) is False:
            what = "This run has no best checkpoint: it was never evaluated during training."
            raise RunNotFound(what, where=str(folder), hint="use the newest one: --checkpoint last")
    if not candidates:
        what = "This run has no checkpoint."
        raise RunNotFound(what, where=str(folder), hint=hint)
    skipped: list[str] = []
    for step in candidates:
        try:
            return _load_step(folder, step, tuple(skipped))
        except CheckpointCorrupt as error:
            if step not in steps(folder):  # its writer removed it meanwhile, and wrote a newer one before that
                return load(folder, which)
            skipped.append(f"{layout.step_name(step)}: {error.what}")
    raise CheckpointCorrupt(
        "All checkpoints of this run are damaged: " + "; ".join(skipped),
        where=str(folder / layout.CHECKPOINTS_FOLDER),
        hint=f"restore one from a backup, or train again: {command('train', '--config', 'SPEC')}",
    )


def save(
    fs: FileSystem,
    folder: Path,
    step: int,
    *,
    model: "Mapping[str, Tensor]",
    optimizer: "Mapping[str, Tensor]",
    state: Mapping[str, Any],
    about: Mapping[str, Any],
    data: "Mapping[str, Tensor]",
    is_best: bool,
    keep_last: int,
) -> None:
    """Write a checkpoint, then remove old checkpoints: all except the newest ``keep_last`` and the best.

    No checkpoint is removed before the new one was read back and verified. An undamaged checkpoint of the same step
    stays as it is (but is marked best if this one is the best); a corrupt one is put aside in ``rolled-back/`` and
    replaced.

    Raises:
        StoreWriteError: the disk refuses; the earlier checkpoints are untouched.
        CheckpointCorrupt: the new checkpoint does not read back correctly; the earlier checkpoints are untouched.
    """
    home = _home(folder, step)
    if not (home.exists() and _kept_as_is(fs, home, is_best=is_best)):
        files = {_MODEL: tensor_bytes(model), _OPTIMIZER: tensor_bytes(optimizer), _STATE: documents.encode(state)}
        if about:
            files |= {_ABOUT: documents.encode(about), _DATA: tensor_bytes(data)}
        make_folders(fs, home.parent)
        if home.exists():
            move(fs, home, layout.put_aside(fs, folder, "corrupt") / home.name)
        write_folder_aside(fs, home, {**files, _MANIFEST: _manifest(files, home, is_best=is_best)})
    _thin_out(fs, folder, step, keep_last)


def _thin_out(fs: FileSystem, folder: Path, newest: int, keep_last: int) -> None:
    """Remove old checkpoints, after verifying ``newest``."""
    known = steps(folder)
    kept = {*known[-keep_last:], best(folder), newest}
    if kept.issuperset(known):
        return
    check_folder(_home(folder, newest))
    for old in known:
        # A checkpoint whose manifest cannot be read may be the best, so it is not removed.
        if old not in kept and _is_best(home := _home(folder, old)) is not None:
            discard(fs, home)


def _kept_as_is(fs: FileSystem, home: Path, *, is_best: bool) -> bool:
    """Whether an existing checkpoint is undamaged and stays; also mark it best if ``is_best`` is true."""
    try:
        files = check_folder(home)
    except CheckpointCorrupt:
        return False
    if is_best and not _is_best(home):
        write_aside(fs, home / _MANIFEST, _manifest(files, home, is_best=True))
    return True


def _manifest(files: Mapping[str, bytes], home: Path, *, is_best: bool) -> bytes:
    return documents.seal(
        {
            "encoding-type": _KIND,
            "encoding-version": "1",
            "step": layout.parse_step(home.name),
            "best": is_best,
            "files": {
                name: {"size": len(content), "sha256": documents.sha256(content)} for name, content in files.items()
            },
        }
    )


def _home(folder: Path, step: int) -> Path:
    return folder / layout.CHECKPOINTS_FOLDER / layout.step_name(step)


def _read_manifest(home: Path) -> dict[str, Any]:
    path = home / _MANIFEST
    manifest = documents.unseal(path)
    layout.check_encoding(manifest, _KIND, path)
    if manifest.get("step") != layout.parse_step(home.name):
        raise documents.corrupt(path, f"The manifest belongs to step {manifest.get('step')}")
    return manifest


def _is_best(home: Path) -> bool | None:
    """Whether a checkpoint is marked best; None where its manifest cannot be read."""
    try:
        return _read_manifest(home).get("best") is True
    except DregError:
        return None


def check_folder(home: Path) -> dict[str, bytes]:
    """Read the folder of one checkpoint, wherever it lies, and return the verified contents of its files.

    Raises:
        CheckpointCorrupt: a file is missing, truncated or altered; the error names it.
        StoreFormatError: its manifest has another version.
    """
    try:
        manifest = _read_manifest(home)
        files: dict[str, bytes] = {}
        for name in (*_CONTENT, *(name for name in _LATER if name in manifest["files"])):
            entry = manifest["files"][name]
            content = documents.read_bytes(home / name, limit=int(entry["size"]))
            if len(content) != entry["size"] or documents.sha256(content) != entry["sha256"]:
                raise documents.corrupt(home / name, f"{name} does not match its digest")
            files[name] = content
    except StoreCorrupt as error:
        raise _corrupt(error.what, Path(error.where or home)) from error
    except (KeyError, TypeError, ValueError) as error:
        what = f"The manifest is incomplete: {error!r}"
        raise _corrupt(what, home / _MANIFEST) from error
    return files


def _load_step(folder: Path, step: int, skipped: tuple[str, ...]) -> Checkpoint:
    files = check_folder(home := _home(folder, step))
    return Checkpoint(
        step=step,
        model=_tensors(files[_MODEL], home / _MODEL),
        optimizer=_tensors(files[_OPTIMIZER], home / _OPTIMIZER),
        state=_document(files[_STATE], home / _STATE),
        about=_document(files[_ABOUT], home / _ABOUT) if _ABOUT in files else {},
        data=_tensors(files[_DATA], home / _DATA) if _DATA in files else {},
        skipped=skipped,
    )


def _document(content: bytes, path: Path) -> dict[str, Any]:
    try:
        return documents.decode(content, path)
    except StoreCorrupt as error:
        raise _corrupt(error.what, path) from error


def _tensors(content: bytes, path: Path) -> "dict[str, Tensor]":
    try:
        return read_tensors(content, path)
    except StoreCorrupt as error:
        raise _corrupt(error.what, path) from error


def _corrupt(what: str, path: Path) -> CheckpointCorrupt:
    hint = "use another one: --checkpoint last, which falls back to the newest undamaged checkpoint"
    return CheckpointCorrupt(what, where=str(path), hint=hint)
