"""The names a user types and the store keeps, each defined once. Standard library only."""

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class VimcoBaseline(StrEnum):
    """Which mean of the other samples' weights stands in for a sample in VIMCO's baseline."""

    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


class Promise(StrEnum):
    """What a pair's expected gradient is, relative to the gradient of its own target."""

    UNBIASED = "unbiased"
    BIASED = "biased"


class Verdict(StrEnum):
    """What a bias check found."""

    UNBIASED = "unbiased"
    BIASED = "biased"
    INCONCLUSIVE = "inconclusive"
    IDENTICAL = "identical"


class Network(StrEnum):
    """Whose gradient."""

    ENCODER = "encoder"
    """The posterior's: one for every estimator."""
    DECODER = "decoder"
    """The model's: one for every objective, whatever the estimator."""


class Split(StrEnum):
    """A part of a data set."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"


SPLIT_WORDS: Final = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "valid": Split.VALID,
    "val": Split.VALID,
    "validation": Split.VALID,
    "dev": Split.VALID,
    "development": Split.VALID,
    "test": Split.TEST,
    "testing": Split.TEST,
}
"""What people call the parts of a data set."""


def split_word(word: str) -> str:
    """A split's own word for what it may be called, and any other word as it is."""
    return SPLIT_WORDS.get(word.strip().lower(), word)


class DatasetName(StrEnum):
    """The data sets of the catalogue. ``data.catalogue.DATASETS`` holds one entry for each; others are one's own."""

    DIGITS = "digits"
    MNIST = "mnist"
    BINARIZED_MNIST = "binarized-mnist"
    FASHION_MNIST = "fashion-mnist"
    OMNIGLOT = "omniglot"
    OMNIGLOT_LAKE = "omniglot-lake"
    CALTECH101_SILHOUETTES = "caltech101-silhouettes"
    LINEAR_GAUSSIAN = "linear-gaussian"


class DataKind(StrEnum):
    """What the values of a data set are."""

    BINARY = "binary"
    """0 or 1."""
    INTENSITY = "intensity"
    """Grey levels, of which pixels may be drawn."""
    REAL = "real"
    """Any finite numbers."""

    @property
    def is_bounded(self) -> bool:
        """Whether 0 is black and 1 is white, or its highest level is."""
        return self is not DataKind.REAL

    @property
    def has_levels(self) -> bool:
        """Whether there may be several levels between black and white, counted in whole numbers."""
        return self is DataKind.INTENSITY


class Channels(StrEnum):
    """What becomes of the colours of images that are imported."""

    KEEP = "keep"
    """They stay: an image has 3 channels, or 4 with alpha."""
    GREY = "grey"
    """They are turned to grey, one channel."""


class Flip(StrEnum):
    """How imported images are mirrored."""

    HORIZONTAL = "horizontal"
    """Left and right change places."""
    VERTICAL = "vertical"
    """Top and bottom change places."""


class LikelihoodName(StrEnum):
    """The distribution of pixels given the decoder's output. ``engine.likelihoods`` holds one entry for each."""

    BERNOULLI = "bernoulli"
    GAUSSIAN = "gaussian"
    DISCRETISED_LOGISTIC = "discretised-logistic"


class ModelName(StrEnum):
    """What is trained. ``app.build`` makes each, and ``app.architectures`` has what follows from it."""

    VAE = "vae"
    """Tanh networks (arXiv 1810.04152)."""
    LINEAR_GAUSSIAN = "linear-gaussian"
    """Probabilistic PCA with a linear encoder: its log p(x) is known exactly."""


class Task(StrEnum):
    """What is modelled: images, or one half of an image given the other."""

    GENERATIVE = "generative"
    STRUCTURED = "structured"
    """The bottom half given the top half (arXiv 1810.04152)."""
    STRUCTURED_REFERENCE = "structured-reference"
    """As the paper's published code has it: the top half given the bottom half, biases and centring crossed."""


class Binarisation(StrEnum):
    """How intensities become pixels. ``specs.binarisation`` has the words with their parameters."""

    DYNAMIC = "dynamic"
    """x ~ Bernoulli(intensity), afresh every step."""
    STATIC_SEED = "static-seed"
    """x ~ Bernoulli(intensity), drawn once for every example by a seed."""
    THRESHOLD = "threshold"
    """x = 1 where the intensity exceeds a threshold."""
    NONE = "none"
    """The values as they are."""


class Backward(StrEnum):
    """Over which rows, of the K samples of every example, the gradient pass runs."""

    DENSE = "dense"
    """All of them."""
    SCREENED = "screened"
    """A random few, each weighted by one over the probability that it was kept: unbiased for dense."""


class Precision(StrEnum):
    """In what the matrix products of screening's first pass read their inputs. Sums and densities stay float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Capture(StrEnum):
    """How much of the source tree's changes a run keeps beside the commit. What looks like a secret is in none."""

    NONE = "none"
    """Whether there are any."""
    NAMES = "names"
    """The difference of tracked files; of the others names, sizes and digests."""
    SOURCE = "source"
    """That, and what is in source files that git does not track."""


class EvalMethod(StrEnum):
    """How log p(x) is estimated."""

    IMPORTANCE = "importance"
    """By importance sampling from the posterior."""
    AIS = "ais"
    """By that, and by annealed importance sampling from the prior, which knows nothing of the posterior."""


class Opinion(StrEnum):
    """What annealed importance sampling makes of an importance estimate."""

    AGREES = "agrees"
    HIGHER = "higher"
    """Importance sampling has missed mass."""
    LOWER = "lower"
    """The annealing was too short."""
    K_TOO_SMALL = "k-too-small"
    """Nobody can say: the bound is still rising with K by more than what would be compared."""
    UNKNOWN = "unknown"
    """Nobody can say: the chance in one of the two is not known."""


class ChanceMethod(StrEnum):
    """From what the chance in a mean of bounds was estimated."""

    GROUPS = "groups"
    """The variance between disjoint groups of K samples, of every example."""
    REPEATS = "repeats"
    """The variance between independent draws, of every example."""
    LEFT_OUT = "left-out"
    """What the bound of every example changes by when each sample is left out in turn."""


class RunStatus(StrEnum):
    """The state of a run. ``crashed`` is never written: it is what a dead writer's ``running`` reads as."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name most like ``word``, or None when nothing is close enough to be what was meant."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """The message for a name that does not exist: the nearest suggestion first, then all that do."""
    names = list(known)
    near = nearest(word, names)
    meant = f" Did you mean '{near}'?" if near else ""
    return f"no {kind} is called '{word}'.{meant} Known: {', '.join(names)}."
