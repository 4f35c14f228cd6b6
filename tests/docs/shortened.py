"""How long an example may work in a test: what a reader runs for minutes runs here for a part of a second.

The one rule: options of the table below are lowered to its numbers, and added where a command leaves them out.
"""

AT_MOST = {
    "train": {"--steps": 30, "--k": 64},
    "finetune-encoder": {"--steps": 10},
    "bias-check": {"--max-batches": 48},
    "variance": {"--replicates": 16, "--reference-k": 128},
    "eval": {"--n": 8, "--steps": 20},
}
ONLY_WHERE_GIVEN = {("train", "--k"), ("eval", "--steps")}
"""Without them the command has a meaning of its own: a run's name has K, and only some methods have steps."""

ALSO = {"bias-check": (1, 5)}
"""Exit codes other than 0: after so few batches a verdict may be any."""


def shortened(words: list[str]) -> list[str]:
    """A command's words, without ``dreg``, with the numbers of the table."""
    words = list(words)
    for option, most in AT_MOST.get(words[0], {}).items():
        if option in words:
            place = words.index(option) + 1
            words[place] = ",".join(str(min(int(each), most)) for each in words[place].split(","))
        elif (words[0], option) not in ONLY_WHERE_GIVEN and "--resume" not in words:
            words += [option, str(most)]
    return words
