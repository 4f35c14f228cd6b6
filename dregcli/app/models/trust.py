"""Decide which code may build the model of a run: the only place that decides it.

A run's code is run where the user has it, and only if it is still the code of the run. The copy that a run keeps is
run only with ``--trust-code``. Nothing of the user's code is run to decide it.
"""

import difflib
from dataclasses import replace
from itertools import islice
from typing import Final

from dregcli.app.common.listener import Listener
from dregcli.app.models.captured import copy_in, is_of, lies_in_a_run
from dregcli.app.models.code import Code, CodeKind
from dregcli.app.models.find import find_code, with_code
from dregcli.app.models.request import CodeRequest
from dregcli.commands import quoted
from dregcli.errors import CodeRefused, Fault, SpecError, StoreCorrupt
from dregcli.specs.models import PROGRAMS, is_network
from dregcli.specs.run import RunSpec
from dregcli.store import layout
from dregcli.store.code import CapturedCode
from dregcli.store.run import Run

_DIFF_LINES: Final = 20


def code_of_run(
    run: Run, spec: RunSpec, asked: CodeRequest, listener: Listener | None = None
) -> tuple[RunSpec, Code | None]:
    """Return the code that may build the model of a run, for ``dregcli.app.loading.build.build_model``.

    Args:
        run: the run.
        spec: its spec; it may have other settings than the stored one, but the model of the stored one.
        asked: what the user says about the code.
        listener: receives a warning if the model is built by other code than that of the run.

    Returns:
        The spec, with word, digest and options of the code that is used; and the code, or None for a network.

    Raises:
        CodeRefused: the code is not the code of the run any more, or is only in the run and not trusted.
        SpecError: the options contradict each other, or the code that the user names is not there.
        StoreCorrupt: the copy that the run keeps was altered.
        ModelFailed: the code that the user names raises an error.
    """
    if faults := _faults(spec, asked):
        raise SpecError(faults, where=str(run.path), hint="leave these options out")
    if is_network(spec.model):
        return spec, None
    if spec.model in PROGRAMS:
        return spec, find_code(spec.model)
    if asked.model is not None:
        code = find_code(asked.model)
        found = with_code(spec, code)
        if listener and code.digest != spec.model_digest:
            listener.warn(f"{code.place or code.word} is not the code that {run.label} was trained with.")
        return found, code
    kept = _kept(run, spec)
    if asked.trust:
        return spec, _trusted(run, kept)
    if kept.place is None or lies_in_a_run(kept.place):
        raise _untrusted(run, kept)
    return spec, _as_it_is(run, kept, kept.place)


def _faults(spec: RunSpec, asked: CodeRequest) -> list[Fault]:
    if asked.model is not None and asked.trust:
        return [Fault("trust-code", "is about the copy in the run: give --model or --trust-code, not both.")]
    if (is_network(spec.model) or spec.model in PROGRAMS) and asked.model not in (None, spec.model):
        return [Fault("model", f"the run has the built-in model {spec.model}, got '{asked.model}'.")]
    if asked.model != spec.model and (is_network(asked.model) or asked.model in PROGRAMS):
        return [Fault("model", f"the run was made with {spec.model}, got '{asked.model}'.")]
    return []


def _kept(run: Run, spec: RunSpec) -> CapturedCode:
    """Return what the run keeps of its model's code."""
    kept = run.code()
    if kept is None:
        what = f"The run {run.label} keeps no code of its model {spec.model}."
        raise CodeRefused(what, where=str(run.path), hint=f"name the code: {_by_name(spec.model)}")
    if not is_of(kept, spec.model_digest):
        what = f"The code in {run.label} is not the code that its spec names."
        folder = run.path / layout.CODE_FOLDER
        raise StoreCorrupt(what, where=str(folder), hint=f"name the code: {_by_name(spec.model)}")
    return kept


def _trusted(run: Run, kept: CapturedCode) -> Code:
    """Return the copy in a run; of a package a run has none, so that the installed package must be the same."""
    if kept.about["kind"] == CodeKind.FILE:
        return copy_in(run.path, kept)
    return _as_it_is(run, kept, f"{kept.about['module']}:{kept.about['class']}")


def _as_it_is(run: Run, kept: CapturedCode, place: str) -> Code:
    """Return the code at its place if it is the code of the run."""
    try:
        now = find_code(place)
    except SpecError as error:
        what = f"The code of {run.label} is not where it was: {error.faults[0].message}"
        named = f"name it where it is now: {_by_name(kept.about['word'])}"
        raise CodeRefused(what, where=place, hint=_or_trust(named, kept)) from error
    if now.digest == kept.about["sha256"]:
        return replace(now, word=kept.about["word"])  # for the class of an entry point, this word is the entry point
    what = f"The code of {run.label} has changed since the run was trained.\n{_differences(kept, now)}"
    named = f"use the code as it is now: --model {quoted(place)}"
    raise CodeRefused(what, where=place, hint=_or_trust(named, kept))


def _untrusted(run: Run, kept: CapturedCode) -> CodeRefused:
    word = kept.about["word"]
    if kept.about["kind"] == CodeKind.FILE:
        what = f"The code of {run.label} came with the run, and code that came from elsewhere is not run by itself."
        where = ", ".join(str(run.path / layout.CODE_FOLDER / name) for name in kept.files)
        hint = f"read it, and run it with --trust-code; or name your own copy: {_by_name(word)}"
    else:
        what = f"The model of {run.label} is {word} of an installed package, but the run came from elsewhere."
        where = str(run.path)
        hint = f"let the installed package be used with --trust-code; or name the class: {_by_name(word)}"
    return CodeRefused(what, where=where, hint=hint)


def _by_name(word: str) -> str:
    return f"--model FOLDER/{word}" if word.partition(":")[0].endswith(".py") else f"--model {word}"


def _or_trust(named: str, kept: CapturedCode) -> str:
    if kept.about["kind"] != CodeKind.FILE:
        return f"install the version of the run; or {named}"
    return f"{named}; or use the copy that the run keeps: --trust-code"


def _differences(kept: CapturedCode, now: Code) -> str:
    """Return a short difference between the code of a run and the code at its place."""
    if kept.about["kind"] != CodeKind.FILE:
        before: dict[str, str] = kept.about["digests"]
        names = sorted(name for name in before.keys() | now.digests if before.get(name) != now.digests.get(name))
        versions = [str(each.get("version", "")) for each in (kept.about["distribution"], now.distribution)]
        version = f"version {versions[0]} in the run, {versions[1]} now; " if versions[0] != versions[1] else ""
        return f"{version}changed files: {', '.join(names)}"
    lines: list[str] = []
    for name in dict.fromkeys([*kept.files, *now.files]):
        then, today = (
            files.get(name, b"").decode("utf-8", "replace").splitlines() for files in (kept.files, now.files)
        )
        lines += difflib.unified_diff(then, today, f"{name} in the run", f"{name} now", n=1, lineterm="")
    more = [f"... and {len(lines) - _DIFF_LINES} more lines"] if len(lines) > _DIFF_LINES else []
    return "\n".join([*islice(lines, _DIFF_LINES), *more])
