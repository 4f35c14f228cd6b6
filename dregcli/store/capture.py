"""Captures the environment of a run: packages, machine, command line, and changes of the source tree.

Capturing never breaks a run: a fact that cannot be found out is null. A run may be given to other people, by ``dreg
runs export`` or as a folder, so everything that looks like a password, a token or a key is removed here.
"""

import hashlib
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, Final

import dregcli
from dregcli.names import Capture
from dregcli.redaction import has_secret, is_secret_name, redacted_diff, redacted_values
from dregcli.store import layout

DIFF_LIMIT: Final = 1024 * 1024
UNTRACKED_LIMIT: Final = 1000
TEXT_LIMIT: Final = 64 * 1024
DIGEST_LIMIT: Final = 64 * 1024 * 1024
"""Most bytes of one file that is read for its digest; all files together may have four times as many."""

SOURCE_SUFFIXES: Final = (
    *(".py", ".pyi", ".pyx", ".pxd", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".sh", ".bash"),
    *(".toml", ".yaml", ".yml", ".json", ".cfg", ".ini"),
)
"""Endings of the files whose contents ``--capture source`` keeps."""

_DISTRIBUTION: Final = "dreg"
_WITHOUT_NUMBERS: Final = ("cli", "report")
"""Parts of the package that show numbers and compute none of a run's."""
NUMERIC_VARIABLES: Final = (
    *("MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
)
"""Environment variables that change numbers other than by the number of threads, which is kept itself."""
_VARIABLES: Final = (
    *("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", *NUMERIC_VARIABLES),
    *("DREG_RUNS_DIR", "DREG_DATA_DIR"),
)
"""Environment variables that change numbers, speed or places; never all variables, because they may hold secrets."""
_GIT_SECONDS: Final = 10.0
_PLAIN_NAMES: Final = ("-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false", "-c", "core.quotePath=false")
"""Options of git that make file names in a difference readable, whatever the user has configured."""
_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def capture_environment(
    *, argv: Sequence[str], extra: Mapping[str, Any], capture: Capture = Capture.NAMES
) -> dict[str, Any]:
    """Return the environment of a run, as ``environment.json`` stores it.

    Args:
        argv: the command line.
        extra: facts that only the caller knows, e.g. threads, device, data checksum; JSON-able. Its keys replace
            equal keys.
        capture: amount of the source tree's changes to record.

    Returns:
        A JSON-able mapping without anything that looks like a secret.
    """
    found = {
        "encoding-type": "environment",
        "encoding-version": "1",
        "time": datetime.now(UTC).isoformat(),
        "argv": list(argv),
        "cwd": _cwd(),
        "packages": package_versions(),
        "python": {"version": sys.version, "executable": sys.executable},
        "platform": platform.platform(),
        "hostname": socket.gethostname(),
        "cpu": {"model": _cpu_model(), "cores": os.cpu_count(), "usable_cores": _usable_cores()},
        "capture": capture.value,
        "source_sha256": source_digest(Path(dregcli.__file__).parent),
        "git": None,
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        **extra,
    }
    # The state of the source tree is searched for secrets separately, line by line.
    return redacted_values(found) | {"git": source_state(Path(dregcli.__file__).parent, capture)}


@cache
def source_digest(package: Path) -> str:
    """Return one SHA-256 of the names and contents of all source files of a package on which numbers can depend.

    The files are read once per process, which has loaded them as they are then.
    """
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] not in _WITHOUT_NUMBERS:
            with suppress(OSError):
                found.update(name.as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def package_versions() -> dict[str, str | None]:
    """Return the installed versions of dreg and its requirements; None for packages that are not installed."""
    try:
        required = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        required = []
    found = {_DISTRIBUTION: dregcli.__version__}
    names = [match[0] for text in required if (match := _REQUIREMENT.match(text))]
    return {**found, **{name: _version(name) for name in names}}


def source_state(package: Path, capture: Capture = Capture.NAMES) -> dict[str, Any] | None:
    """Return the git state of the checkout that a package runs from.

    Args:
        package: the package's folder, e.g. ``dregcli/``.
        capture: amount of the state to record.

    Returns:
        ``commit`` and ``clean``. Except with ``Capture.NONE`` also ``diff``, all changes to tracked files as text,
        cut at 1 MB with ``diff_cut`` true, without the ``diff_redacted`` lines that held a secret; ``untracked``,
        the files that git neither tracks nor ignores and that do not belong to runs, at most 1,000, with their full
        number in ``untracked_count``; ``untracked_files``, their sizes in bytes and SHA-256 (None for a large file
        or one that is not a plain file). With ``Capture.SOURCE`` also ``untracked_text``, the contents of the source
        files among them, and ``withheld``, the reasons why the contents of the others are not stored. None where
        the folder is not a checkout of that package (an installed copy inside another repository is not one), or
        git is missing or fails.
    """
    try:
        root = Path(_git(package, "rev-parse", "--show-toplevel").decode().rstrip("\n"))
        if package.resolve().parent != root.resolve():
            return None
        # It must also be tracked: an installed package may lie at the top of another repository.
        if not _git(root, "ls-files", "--", package.name):
            return None
        commit = _git(root, "rev-parse", "HEAD").decode().strip()
        diff = _git(root, *_PLAIN_NAMES, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color")
        listed = _git(root, "ls-files", "--others", "--exclude-standard", "-z").decode("utf-8", "replace")
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    stores: dict[Path, bool] = {}
    untracked = [name for name in listed.split("\0") if name and not _is_of_a_store(root, name, stores)]
    state: dict[str, Any] = {"commit": commit, "clean": not diff and not untracked}
    if capture is Capture.NONE:
        return state
    names = untracked[:UNTRACKED_LIMIT]
    state |= _difference(diff) | {
        "untracked": names,
        "untracked_count": len(untracked),
        "untracked_files": _digests(root, names),
    }
    if capture is Capture.SOURCE:
        state["untracked_text"], state["withheld"] = _texts(root, names)
    return state


def _difference(diff: bytes) -> dict[str, Any]:
    # The cut is at the end of a line: a key that is cut in two could not be recognised.
    end = len(diff) if len(diff) <= DIFF_LIMIT else diff.find(b"\n", DIFF_LIMIT) + 1 or len(diff)
    text, lines = redacted_diff(diff[:end].decode("utf-8", "replace"))
    return {"diff": text[:DIFF_LIMIT], "diff_cut": len(diff) > DIFF_LIMIT, "diff_redacted": lines}


def _is_of_a_store(root: Path, name: str, known: dict[Path, bool]) -> bool:
    """Whether a file belongs to a folder of runs: a run does not record other runs."""
    *folders, last = PurePosixPath(name).parts
    folder = root
    for each in folders:
        folder = folder / each
        if folder not in known:
            is_run = layout.parse_version(each) is not None and (folder / layout.RUN_FILE).is_file()
            known[folder] = is_run or (folder / layout.STORE_FILE).is_file()
        if known[folder]:
            return True
    return last == layout.STORE_FILE


def _digests(root: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of each file, by name."""
    found: dict[str, dict[str, Any]] = {}
    room = 4 * DIGEST_LIMIT
    for name in names:
        size, sha256 = None, None
        try:
            if _is_plain(root / name):
                size = (root / name).stat().st_size
                if size <= min(DIGEST_LIMIT, room):
                    with (root / name).open("rb") as file:
                        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                    room -= size
        except OSError:
            pass
        found[name] = {"bytes": size, "sha256": sha256}
    return found


def _texts(root: Path, names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the contents of source files, as far as there is room, and why other contents are not stored."""
    found: dict[str, str] = {}
    withheld: dict[str, str] = {}
    room = DIFF_LIMIT
    for name in names:
        content, why = _source(root / name, name, room)
        if why:
            withheld[name] = why
        else:
            found[name] = content
            room -= len(content.encode())
    return found, withheld


def _source(path: Path, name: str, room: int) -> tuple[str, str]:
    """Return the content of a source file, or the reason why it is not stored."""
    if is_secret_name(name):
        return "", "its name looks like the name of a file of passwords or keys"
    if path.suffix.lower() not in SOURCE_SUFFIXES:
        return "", "it is not a source file"
    try:
        if not _is_plain(path):
            return "", "it is not a plain file"
        if path.stat().st_size > min(TEXT_LIMIT, room):
            return "", f"it is larger than {TEXT_LIMIT // 1024} KiB, or there was no room left"
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return "", "it cannot be read as text"
    if has_secret(text):
        return "", "it seems to hold a password, a token or a key"
    return text, "" if "\0" not in text else "it cannot be read as text"


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _git(folder: Path, *arguments: str) -> bytes:
    # No optional locks, because capturing must not disturb a git command that the user runs at the same time.
    return subprocess.run(
        ["git", "--no-optional-locks", "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=_GIT_SECONDS,
    ).stdout


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cwd() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # the folder was removed meanwhile
        return None


def _cpu_model() -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or None
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or None


def _usable_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
