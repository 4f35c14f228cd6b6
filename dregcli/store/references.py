"""What a user types for a run: ``xyz``, ``runs/xyz``, ``xyz/v001``, ``./runs/xyz/v001/`` or an absolute path."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dregcli.errors import DregError, RunNotFound, StoreFormatError
from dregcli.names import nearest
from dregcli.store import layout

_USUAL_ROOT: Final = "runs"
"""Which commands look into that are told of no other."""


@dataclass(frozen=True)
class Match:
    """A name and those of its versions that a reference stands for, ascending."""

    name: str
    versions: tuple[int, ...]


def names(root: Path) -> dict[str, list[int]]:
    """The names that have a version, sorted, each with its versions, ascending."""
    found = {
        name: layout.versions(root / name)
        for name in layout.entries(root)
        if layout.is_name(name) and (root / name).is_dir()
    }
    return {name: versions for name, versions in found.items() if versions}


def match(root: Path, reference: str) -> Match:
    """What a reference stands for.

    Raises:
        RunNotFound: nothing, with the nearest name.
        StoreFormatError: something that is no run of this store.
    """
    try:
        return _match(root, reference)
    except (OSError, ValueError, RuntimeError) as error:
        # What no path can be: too long a name, a null byte, a loop of links.
        what = f"There is no run {reference[:100]!r}."
        raise RunNotFound(what, where=f"{root}/", hint=_listing(root)) from error


def _match(root: Path, reference: str) -> Match:
    readings = _readings(root, reference)
    for parts in readings:
        found = layout.versions(root / parts[0])
        if len(parts) == 1 and found:
            return Match(parts[0], tuple(found))
        if len(parts) == 2 and layout.parse_version(parts[1]) in found:
            return Match(parts[0], (layout.parse_version(parts[1]) or 0,))
    raise _error(root, reference, readings)


def _readings(root: Path, reference: str) -> list[tuple[str, ...]]:
    """The ways to read a reference as a name, or a name and a version, the likeliest first."""
    path = Path(reference)
    readings: list[tuple[str, ...]] = []
    if (absolute := path.resolve()).is_relative_to(root.resolve()):
        readings.append(absolute.relative_to(root.resolve()).parts)
    if not path.is_absolute():
        readings.append(path.parts)
        if path.parts and path.parts[0] in (root.name, "runs"):
            readings.append(path.parts[1:])
    return [parts for parts in readings if len(parts) in (1, 2) and layout.is_name(parts[0])]


def _error(root: Path, reference: str, readings: list[tuple[str, ...]]) -> DregError:
    for parts in readings:
        found = layout.versions(root / parts[0])
        if len(parts) == 2 and found and layout.parse_version(parts[1]):
            known = ", ".join(layout.version_name(version) for version in found)
            return RunNotFound(
                f"'{parts[0]}' has no version {parts[1]}; it has {known}.",
                where=str(root / parts[0]),
                hint=f"use {parts[0]}/{layout.version_name(found[-1])}",
            )
    there = [root.joinpath(*parts) for parts in readings] + ([Path(reference)] if reference else [])
    for path in there:
        if path.exists():
            return StoreFormatError(
                f"'{reference}' is not a run of the store in {root}/.",
                where=str(path),
                hint="a run is a name, or a folder RUNS/NAME/v001; name another store with --runs-dir RUNS",
            )
    known = list(names(root))
    word = readings[-1][0] if readings else reference
    near = nearest(word, known)
    meant = f" Did you mean '{near}'?" if near else ""
    if not known:
        hint = "there are no runs yet; start one: dreg train --help"
    else:
        hint = f"{_listing(root)}, e.g. {', '.join(known[:5])}"
    return RunNotFound(f"There is no run '{reference}'.{meant}", where=f"{root}/", hint=hint)


def _listing(root: Path) -> str:
    elsewhere = "" if str(root) == _USUAL_ROOT else f" --runs-dir {shlex.quote(str(root))}"
    return f"see what there is: dreg runs list{elsewhere}"
