"""How results came about: versions, processors and hours, from what runs keep of their environments."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from dregcli.app.papers.kind import Made


def made_by(environments: Sequence[Mapping[str, Any]], hours: float, hours_of: str, length: str) -> Made:
    """Return how results came about.

    Args:
        environments: the environments of all pieces of work, as runs keep them.
        hours: hours of what ``hours_of`` says.
        hours_of: what took these hours.
        length: seeds and steps in words.
    """
    versions = [str(_in(each, "packages", "dreg") or "unknown") for each in environments]
    return Made(_each(versions), _each([_processor(each) for each in environments]), hours, hours_of, length)


def _processor(environment: Mapping[str, Any]) -> str:
    if gpu := _in(environment, "gpu", "name"):
        return str(gpu)
    threads = environment.get("threads")
    name = str(_in(environment, "cpu", "model") or "unknown processor")
    return f"{name}, {threads} thread{'' if threads == 1 else 's'}" if threads else name


def _in(environment: Mapping[str, Any], part: str, name: str) -> object:
    found = environment.get(part)
    return cast("Mapping[str, object]", found).get(name) if isinstance(found, Mapping) else None


def _each(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
