"""How long an example may work in a test: what a reader runs for minutes runs here for a part of a second.

The rules, all of them:

- Options of the table below are lowered to its numbers, and added where a command leaves them out.
- A run that is resumed with more steps gets twice as many as the table has.
- A study has its first two seeds.
- An objective that changes does so within half of the table's steps.
- The data sets have few examples (``tests.support.data_few``).
- A check that trains a model first trains it for as many steps as the table has.
- A bias check of a command tests as early as its statistics can; one of a Python block is whole.
- Figures are composed, but their files are empty.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from dregcli.app.diagnosis import new_model
from dregcli.engine.diagnostics import bias_check
from dregcli.engine.diagnostics.bias_statistics import FEWEST_MEANS
from tests.support.no_figures import no_ink
from tests.support.quick_training import quick_training

STEPS = 8

AT_MOST: dict[str, dict[str, float | str]] = {
    "train": {"--steps": STEPS, "--batch-size": 8, "--k": 64, "--warmup-steps": 4, "--kl-warmup": 4},
    "finetune-encoder": {"--steps": 4},
    "check-model": {"--max-seconds": 1},
    "bias-check": {"--max-batches": 48, "--examples": 2},
    "variance": {"--replicates": 20, "--reference-k": 64, "--examples": 2},
    "advise": {"--replicates": 20, "--budget": 0.1, "--estimator": "reparam"},
    "eval": {"--n": 8, "--steps": 5, "--repeats": 10},
    "sample": {"--n": 64},
    "runs": {"--replay": STEPS},
}
ONLY_WHERE_GIVEN = {
    ("train", "--k"),  # a run's name has it
    ("train", "--warmup-steps"),
    ("train", "--kl-warmup"),
    ("eval", "--repeats"),
    ("sample", "--n"),
    ("runs", "--replay"),
}

ALSO = {"bias-check": (1, 5), "check-model": (1,)}
"""Exit codes other than 0: after so few batches a verdict may be any, and pages show models with faults."""


FIRST_LOOK = bias_check.FIRST_LOOK


def shortened(words: list[str]) -> list[str]:
    """A command's words, without ``dreg``, with the numbers of the table."""
    words = [re.sub(r"(->[^@]+@)\d+", rf"\g<1>{STEPS // 2}", word) for word in words]
    for option, most in AT_MOST.get(words[0], {}).items():
        if isinstance(most, str):
            words += [] if option in words else [option, most]
        elif option in words:
            most *= 2 if "--resume" in words and option == "--steps" else 1
            place = words.index(option) + 1
            if option == "--max-batches":
                assert int(words[place]) >= FIRST_LOOK, "the program refuses fewer"
            words[place] = ",".join(str(min(int(each), most)) for each in words[place].split(","))
        elif _belongs(option, words):
            words += [option, str(most)]
    if "--seeds" in words:
        place = words.index("--seeds") + 1
        words[place] = re.sub(r"^(\d+)-\d+$", lambda found: f"{found[1]}-{int(found[1]) + 1}", words[place])
    return words


def _belongs(option: str, words: list[str]) -> bool:
    """Whether a command may have an option that it was not given."""
    if (words[0], option) == ("eval", "--steps"):  # steps of the annealing
        return "ais" in words
    if option == "--steps" and "--epochs" in words:
        return False
    if option in ("--reference-k", "--examples") and "--toy" in words:
        return False  # the toy has no examples; its default K go beyond the reference's, and cost little
    return (words[0], option) not in ONLY_WHERE_GIVEN and "--resume" not in words


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few examples, few steps where a check trains a model first, and files of figures without content."""
    quick_training(monkeypatch)
    no_ink(monkeypatch)
    monkeypatch.setattr(new_model, "TRAINING_STEPS", STEPS)


@contextmanager
def early_looks() -> Generator[None]:
    """Let bias checks test after few batches."""
    bias_check.FIRST_LOOK = FEWEST_MEANS
    try:
        yield
    finally:
        bias_check.FIRST_LOOK = FIRST_LOOK
