"""What a run was made with: packages, machine, command line, and the exact source tree.

Capturing never breaks a run: what cannot be found out is null.
"""

import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import dregcli

DIFF_LIMIT: Final = 1024 * 1024
UNTRACKED_LIMIT: Final = 1000
TEXT_LIMIT: Final = 64 * 1024

_DISTRIBUTION: Final = "dreg"
_VARIABLES: Final = (
    *(
        "OMP_NUM_THREADS",
        "OMP_WAIT_POLICY",
        "MKL_NUM_THREADS",
        "MKL_CBWR",
        "ONEDNN_MAX_CPU_ISA",
        "ATEN_CPU_CAPABILITY",
    ),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "DREG_RUNS_DIR", "DREG_DATA_DIR"),
)
"""Those that change numbers, or where things are; never all of them, which may hold secrets."""
_GIT_SECONDS: Final = 10.0
_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def capture_environment(*, argv: Sequence[str], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The environment of a run, as ``environment.json`` keeps it.

    Args:
        argv: the command line.
        extra: what the caller knows and this layer does not, e.g. threads, device, data checksum; JSON-able. Its
            keys come last and win.

    Returns:
        A JSON-able mapping.
    """
    return {
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
        "git": source_state(Path(dregcli.__file__).parent),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        **extra,
    }


def package_versions() -> dict[str, str | None]:
    """The installed versions of dreg and of what it requires, None for those not installed."""
    try:
        required = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        required = []
    found = {_DISTRIBUTION: dregcli.__version__}
    names = [match[0] for text in required if (match := _REQUIREMENT.match(text))]
    return {**found, **{name: _version(name) for name in names}}


def source_state(package: Path) -> dict[str, Any] | None:
    """The git state of the checkout a package runs from.

    Args:
        package: the package's folder, e.g. ``dregcli/``.

    Returns:
        ``commit``; ``clean``; ``diff``, all changes to tracked files as text, cut at 1 MB with ``diff_cut`` true;
        ``untracked``, the files git neither tracks nor ignores, at most 1,000 with ``untracked_count`` saying how
        many there are; ``untracked_text``, what is in those that are short text. None when it is not a checkout of
        that package (an installed copy inside some other repository is not), or git is missing or fails.
    """
    try:
        root = Path(_git(package, "rev-parse", "--show-toplevel").decode().rstrip("\n"))
        if package.resolve().parent != root.resolve():
            return None
        # Tracked, too: a package installed into a folder of another repository may lie at its top.
        if not _git(root, "ls-files", "--", package.name):
            return None
        commit = _git(root, "rev-parse", "HEAD").decode().strip()
        diff = _git(root, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color")
        listed = _git(root, "ls-files", "--others", "--exclude-standard", "-z").decode("utf-8", "replace")
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    untracked = [name for name in listed.split("\0") if name]
    return {
        "commit": commit,
        "clean": not diff and not untracked,
        "diff": diff[:DIFF_LIMIT].decode("utf-8", "replace"),
        "diff_cut": len(diff) > DIFF_LIMIT,
        "untracked": untracked[:UNTRACKED_LIMIT],
        "untracked_count": len(untracked),
        "untracked_text": _texts(root, untracked[:UNTRACKED_LIMIT]),
    }


def _texts(root: Path, names: Sequence[str]) -> dict[str, str]:
    """The content of plain text files, as far as there is room: an experiment is often in a file not yet added."""
    found: dict[str, str] = {}
    room = DIFF_LIMIT
    for name in names:
        path = root / name
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > min(TEXT_LIMIT, room):
                continue
            content = path.read_bytes()
            text = content.decode("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if "\0" not in text and len(content) <= room:
            found[name] = text
            room -= len(content)
    return found


def _git(folder: Path, *arguments: str) -> bytes:
    # No optional locks: capturing must not get in the way of a git command the user runs meanwhile.
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
    except OSError:  # the folder was removed under us
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
