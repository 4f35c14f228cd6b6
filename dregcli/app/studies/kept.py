"""What a run that was there before keeps of its own, although a study asks for something else.

These are settings without an effect on a run's numbers, which therefore do not make another run.
"""

from collections.abc import Mapping
from typing import Any, Final

from dregcli.specs.resolve import flag
from dregcli.specs.run import RunSpec, as_json, spelt_out

_SHOWN: Final = ("log_every", "eval_every", "final_eval")
"""Settings that change no number of a training, but what a report has to show: how many rows, and which bounds.

Tracked estimators are such a setting too; ``untracked`` names them one by one."""


def other_settings(asked: RunSpec, kept: Mapping[str, Any]) -> str:
    """Return the settings that a report shows and in which a run differs from the request; empty if there is none.

    Args:
        asked: the run that the study asks for.
        kept: spec of the run.
    """
    wanted, own = spelt_out(as_json(asked)), spelt_out(kept)
    return ", ".join(f"--{flag(name)} {own[name]}" for name in _SHOWN if own.get(name) != wanted.get(name))


def untracked(asked: RunSpec, kept: Mapping[str, Any]) -> str:
    """Return the estimators that the study asks to be tracked, and that a run does not track; empty if there is none.

    Args:
        asked: the run that the study asks for.
        kept: spec of the run.
    """
    tracked = kept.get("track_estimators", [])
    return ", ".join(word for word in asked.track_estimators if word not in tracked)


def as_it_began(asked: RunSpec, kept: Mapping[str, Any]) -> str:
    """Return in words what a run that is continued keeps, although the study asks for something else.

    Args:
        asked: the run that the study asks for.
        kept: spec with which the run continues.
    """
    others, missing = other_settings(asked, kept), untracked(asked, kept)
    words = [*([f"with {others}"] if others else []), *([f"without tracking {missing}"] if missing else [])]
    return ", ".join(words)
