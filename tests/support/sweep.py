"""Sweeps over a registry as one test: every case runs, and each one that fails is named."""

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import pytest

Test = Callable[..., None]
_SHOWN: Final = 3
"""Number of failing cases whose tracebacks are shown; all failing cases are named."""


def swept(names: str, cases: Iterable[Any], *, named: Callable[..., str] | None = None) -> Callable[[Test], Test]:
    """Fold a parametrised test into one item, which saves pytest's work for thousands of items.

    Takes the place of ``pytest.mark.parametrize`` where the cases share nothing that a test changes: fixtures are
    made once for all cases.

    Args:
        names: the arguments of a case, separated by commas.
        cases: a value for each case; a tuple of values where there are several names.
        named: the name of a case, made of its values; their text where it is left out.

    Returns:
        The decorator. The test that it makes fails with the names of all failing cases. A case that skips is a
        failing case: pytest would skip the whole test and so hide all cases after it.
    """
    words = [word.strip() for word in names.split(",")]
    listed = [case if len(words) > 1 else (case,) for case in cases]
    if not listed:
        what = "A sweep without cases claims nothing."
        raise ValueError(what)

    def fold(test: Test) -> Test:
        @functools.wraps(test)
        def every(**fixtures: Any) -> None:
            faults: dict[str, BaseException] = {}
            for case in listed:
                try:
                    test(**fixtures, **dict(zip(words, case, strict=True)))
                except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
                    name = named(*case) if named else "-".join(map(str, case))
                    faults[name] = error
            if faults:
                pytest.fail(_report(faults, len(listed)), pytrace=False)

        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name not in words]
        cast(Any, every).__signature__ = signature.replace(parameters=left)
        return every

    return fold


def _report(faults: dict[str, BaseException], cases: int) -> str:
    shown = [
        f"--- {name} ---\n{''.join(traceback.format_exception(error))}"
        for name, error in list(faults.items())[:_SHOWN]
    ]
    return "\n".join([f"{len(faults)} of {cases} cases fail: {', '.join(faults)}", *shown])
