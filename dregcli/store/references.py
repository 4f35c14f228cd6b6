"""What a user types for a run: a name in a store, or a path, which finds its own store.

``xyz`` and ``xyz/v001`` are names, looked up in the store that commands were given. ``runs/xyz``, ``./xyz/v001/`` and
``/elsewhere/xyz`` are paths: the store is the folder above the name that has ``store.json``, whatever was given.
"""

from dataclasses import dataclass
from pathlib import Path

from dregcli.commands import command, quoted
from dregcli.errors import DregError, RunNotFound, StoreFormatError
from dregcli.names import nearest
from dregcli.store import layout


@dataclass(frozen=True)
class Match:
    """What a reference stands for: versions of a name, ascending, and the store that they are of."""

    root: Path
    name: str
    versions: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where a run would lie: a name in a store and, of one run, the word for its version."""

    root: Path
    name: str
    version: str | None = None

    @property
    def key(self) -> str:
        """``NAME`` or ``NAME/v001``."""
        return f"{self.name}/{self.version}" if self.version else self.name

    @property
    def folder(self) -> Path:
        """Its folder, which need not exist."""
        return self.root / self.key


def names(root: Path) -> dict[str, list[int]]:
    """The names that have a version, sorted, each with its versions, ascending."""
    found = {
        name: layout.versions(root / name)
        for name in layout.entries(root)
        if layout.is_name(name) and (root / name).is_dir()
    }
    return {name: versions for name, versions in found.items() if versions}


def match(root: Path, reference: str, *, only_here: bool = False) -> Match:
    """What a reference stands for.

    Args:
        root: the store that names are looked up in.
        reference: a name or a path.
        only_here: it is a name of this store, whatever paths there are.

    Raises:
        RunNotFound: nothing, with the nearest name.
        StoreFormatError: something that is no run of a store, or a store of another format.
        StoreCorrupt: ``store.json`` is not what it should be.
    """
    try:
        places = _in_store(root, Path(reference).parts) if only_here else _places(root, reference)
        if found := next(filter(None, map(_match_at, places)), None):
            return found
        raise _error(root, reference, places)
    except (OSError, ValueError, RuntimeError) as error:
        # What no path can be: too long a name, a null byte, a loop of links.
        what = f"There is no run {reference[:100]!r}."
        raise RunNotFound(what, where=f"{root}/", hint=_listing(root)) from error


def removed_place(root: Path, reference: str) -> Place:
    """Where a run was that is no longer there: a path finds its own store all the same."""
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
    """The ways to read a reference, the likeliest first; those in one and the same place once."""
    path = Path(reference)
    own = _own_places(root, path)
    named: list[Place] = []
    if not path.is_absolute():
        named = _in_store(root, path.parts)
        if path.parts and path.parts[0] in (root.name, "runs"):
            named += _in_store(root, path.parts[1:])
    # As commands print it, NAME and NAME/v001 are names; what else has several parts is a path.
    is_path = path.is_absolute() or reference.startswith(".") or (len(path.parts) > 1 and not _is_label(path))
    return list(dict.fromkeys([*own, *named] if is_path else [*named, *own]))


def _is_label(path: Path) -> bool:
    return len(path.parts) == 2 and layout.parse_version(path.parts[1]) is not None


def _in_store(root: Path, parts: tuple[str, ...]) -> list[Place]:
    """A name, or a name and a version, of a store; nothing of other paths."""
    return [Place(root, *parts)] if len(parts) in (1, 2) and layout.is_name(parts[0]) else []


def _own_places(root: Path, path: Path) -> list[Place]:
    """What a path stands for by itself: in the given store, which may have no ``store.json`` yet, or in its own."""
    found: list[Place] = []
    for each in (path.absolute(), path.resolve()):
        for base in (root.absolute(), root.resolve()):
            if each.is_relative_to(base):
                found += _in_store(root, each.relative_to(base).parts)
    # As it was typed first, which is how it is shown, and which may know a store by a link to it.
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
        meant = " No folder above it is a store of runs: none has store.json."
    if not known:
        hint = "there are no runs yet; start one: dreg train --help"
    else:
        few, more = ", ".join(known[:5]), " and more" if len(known) > 5 else ""
        hint = f"there are {few}{more}; {_listing(store)}"
    return RunNotFound(f"There is no run '{reference}'.{meant}", where=f"{store}/", hint=hint)


def _named(root: Path, place: Place, version: str) -> str:
    """What to type for a version: a name of the store that was given, and a path into any other."""
    return f"{place.name}/{version}" if place.root == root else quoted(place.root / place.name / version)


def _no_run(root: Path, reference: str, path: Path) -> DregError:
    """The error for a file or folder that is there and is no run."""
    what = f"'{reference}' is not a run of the store in {root}/"
    if (path / layout.STORE_FILE).is_file():
        what += ": it is a store of runs itself."
        return StoreFormatError(what, where=str(path), hint=_listing(path))
    for store in path.absolute().parents:
        if (store / layout.STORE_FILE).is_file():
            if len(parts := path.absolute().relative_to(store).parts) > 2 and _in_store(store, parts[:2]):
                what += f": it lies inside of the run {'/'.join(parts[:2])}."
                return StoreFormatError(
                    what, where=str(path), hint=f"name the run: {quoted(store.joinpath(*parts[:2]))}"
                )
            what += f", nor of the one in {store}/." if not _same(store, root) else "."
            return StoreFormatError(what, where=str(path), hint=_listing(store))
    what += ", and no folder above it is a store of runs: none has store.json."
    hint = "a run is a name, or a folder RUNS/NAME/v001; name another store with --runs-dir RUNS"
    home = path.absolute()
    for folder, above in ((home, home.parent.parent), (home / "v001", home.parent)):
        if layout.parse_version(folder.name) and (folder / layout.RUN_FILE).is_file():
            hint = f"if its store lost that file, name it: {command('runs', 'list', runs_dir=above)}"
    return StoreFormatError(what, where=str(path), hint=hint)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _listing(root: Path) -> str:
    return f"see what there is: {command('runs', 'list', runs_dir=root)}"
