"""References: what a user types for a run, either a name in a store, or a path, which leads to its own store.

``xyz`` and ``xyz/v001`` are names, looked up in the store that commands were given. ``runs/xyz``, ``./xyz/v001/`` and
``/elsewhere/xyz`` are paths: their store is the folder above the name that has ``store.json``, not the given store.
"""

from dataclasses import dataclass
from pathlib import Path

from dregcli.commands import command, quoted
from dregcli.errors import DregError, RunNotFound, StoreFormatError
from dregcli.names import nearest
from dregcli.store import layout


@dataclass(frozen=True)
class Match:
    """The versions of a name that a reference stands for, ascending, and their store."""

    root: Path
    name: str
    versions: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """A place for a run or a name in a store; for one run, also its version as typed."""

    root: Path
    name: str
    version: str | None = None

    @property
    def key(self) -> str:
        """``NAME`` or ``NAME/v001``."""
        return f"{self.name}/{self.version}" if self.version else self.name

    @property
    def folder(self) -> Path:
        """The folder of this place, which need not exist."""
        return self.root / self.key


def names(root: Path) -> dict[str, list[int]]:
    """Return the names that have a version, sorted, each with its versions, ascending."""
    found = {
        name: layout.versions(root / name)
        for name in layout.entries(root)
        if layout.is_name(name) and (root / name).is_dir()
    }
    return {name: versions for name, versions in found.items() if versions}


def match(root: Path, reference: str, *, only_here: bool = False) -> Match:
    """Find the versions that a reference stands for.

    Args:
        root: the store in which names are looked up.
        reference: a name or a path.
        only_here: treat the reference only as a name of this store, never as a path.

    Raises:
        RunNotFound: there is no such run; the message gives the nearest name.
        StoreFormatError: the path is not a run of a store, or the store has another format.
        StoreCorrupt: ``store.json`` is altered.
    """
    try:
        places = _in_store(root, Path(reference).parts) if only_here else _places(root, reference)
        if found := next(filter(None, map(_match_at, places)), None):
            return found
        raise _error(root, reference, places)
    except (OSError, ValueError, RuntimeError) as error:
        # The reference cannot be a path: a name is too long, or it has a null byte or a loop of links.
        what = f"There is no run {reference[:100]!r}."
        raise RunNotFound(what, where=f"{root}/", hint=_listing(root)) from error


def removed_place(root: Path, reference: str) -> Place:
    """Return the place of a removed run; a path still leads to its own store."""
    try:
        places = _places(root, reference)
    except (OSError, ValueError, RuntimeError):
        places = []
    for place in places:
        if version := layout.parse_version(place.version or ""):
            return Place(place.root, place.name, layout.version_name(version))
    return places[0] if places else Place(root, reference)


def _match_at(place: Place) -> Match | None:
    layout.check_store(place.root)
    found = layout.versions(place.root / place.name)
    if place.version is None:
        return Match(place.root, place.name, tuple(found)) if found else None
    version = layout.parse_version(place.version)
    return Match(place.root, place.name, (version,)) if version in found and version else None


def _places(root: Path, reference: str) -> list[Place]:
    """Return the possible meanings of a reference, the likeliest first, without duplicates."""
    path = Path(reference)
    own = _own_places(root, path)
    named: list[Place] = []
    if not path.is_absolute():
        named = _in_store(root, path.parts)
        if path.parts and path.parts[0] in (root.name, "runs"):
            named += _in_store(root, path.parts[1:])
    # Commands print NAME and NAME/v001, so these are names; any other reference with several parts is a path.
    is_path = path.is_absolute() or reference.startswith(".") or (len(path.parts) > 1 and not _is_label(path))
    return list(dict.fromkeys([*own, *named] if is_path else [*named, *own]))


def _is_label(path: Path) -> bool:
    return len(path.parts) == 2 and layout.parse_version(path.parts[1]) is not None


def _in_store(root: Path, parts: tuple[str, ...]) -> list[Place]:
    """Return the place of NAME or NAME/VERSION in a store; empty for any other parts."""
    return [Place(root, *parts)] if len(parts) in (1, 2) and layout.is_name(parts[0]) else []


def _own_places(root: Path, path: Path) -> list[Place]:
    """Return the meanings of a path: in the given store, which may have no ``store.json`` yet, or in its own."""
    found: list[Place] = []
    for each in (path.absolute(), path.resolve()):
        for base in (root.absolute(), root.resolve()):
            if each.is_relative_to(base):
                found += _in_store(root, each.relative_to(base).parts)
    # The typed path comes first, because it is shown to the user, and it may reach a store by a link.
    for each in (path, path.resolve()):
        for below in range(1, min(len(each.parts), 2) + 1):
            store = Path(*each.parts[:-below])
            if (store / layout.STORE_FILE).is_file():
                found += _in_store(store, each.parts[-below:])
    return found


def _error(root: Path, reference: str, places: list[Place]) -> DregError:
    for place in places:
        found = layout.versions(place.root / place.name)
        if place.version and found and layout.parse_version(place.version):
            known = ", ".join(layout.version_name(version) for version in found)
            return RunNotFound(
                f"'{place.name}' has no version {place.version}; it has {known}.",
                where=str(place.root / place.name),
                hint=f"use {_named(root, place, layout.version_name(found[-1]))}",
            )
    there = [place.folder for place in places] + ([Path(reference)] if reference else [])
    for path in there:
        if path.exists():
            return _no_run(root, reference, path)
    likely = [place for place in places if place.version is None or layout.parse_version(place.version)] or places
    store, word = (likely[0].root, likely[0].name) if likely else (root, reference)
    known = list(names(store))
    near = nearest(word, known)
    meant = f" Did you mean '{near}'?" if near else ""
    if not places and Path(reference).is_absolute():
        meant = " None of the folders above it is a store of runs with a store.json."
    if not known:
        hint = "there are no runs yet; start one: dreg train --help"
    else:
        few, more = ", ".join(known[:5]), " and more" if len(known) > 5 else ""
        hint = f"there are {few}{more}; {_listing(store)}"
    return RunNotFound(f"There is no run '{reference}'.{meant}", where=f"{store}/", hint=hint)


def _named(root: Path, place: Place, version: str) -> str:
    """Return what to type for a version: a name in the given store, or a path into another store."""
    return f"{place.name}/{version}" if place.root == root else quoted(place.root / place.name / version)


def _no_run(root: Path, reference: str, path: Path) -> DregError:
    """Return the error for an existing file or folder that is not a run."""
    what = f"'{reference}' is not a run of the store in {root}/"
    if (path / layout.STORE_FILE).is_file():
        what += ": it is itself a store of runs."
        return StoreFormatError(what, where=str(path), hint=_listing(path))
    for store in path.absolute().parents:
        if (store / layout.STORE_FILE).is_file():
            if len(parts := path.absolute().relative_to(store).parts) > 2 and _in_store(store, parts[:2]):
                what += f": it lies inside the run {'/'.join(parts[:2])}."
                return StoreFormatError(
                    what, where=str(path), hint=f"name the run: {quoted(store.joinpath(*parts[:2]))}"
                )
            what += f", nor of the store in {store}/." if not _same(store, root) else "."
            return StoreFormatError(what, where=str(path), hint=_listing(store))
    what += ", and none of the folders above it is a store of runs with a store.json."
    hint = "give a name, or a folder RUNS/NAME/v001; choose another store with --runs-dir RUNS"
    home = path.absolute()
    for folder, above in ((home, home.parent.parent), (home / "v001", home.parent)):
        if layout.parse_version(folder.name) and (folder / layout.RUN_FILE).is_file():
            hint = f"if its store lost that file, name the store: {command('runs', 'list', runs_dir=above)}"
    return StoreFormatError(what, where=str(path), hint=hint)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _listing(root: Path) -> str:
    return f"list the runs: {command('runs', 'list', runs_dir=root)}"
