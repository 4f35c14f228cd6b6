"""The names that a user types and the store keeps, each defined once. Standard library only."""

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class VimcoBaseline(StrEnum):
    """The mean of the other samples' weights that replaces a sample's weight in VIMCO's baseline."""

    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


class TvoRule(StrEnum):
    """Where a thermodynamic objective takes the height of each part of its path."""

    LEFT = "left"
    """At the part's left end. The sum is a lower bound of log p(x)."""
    RIGHT = "right"
    """At the part's right end. The sum is not a bound of log p(x)."""
    TRAPEZOID = "trapezoid"
    """The mean of both ends. The sum is not a bound of log p(x)."""


class TvoSchedule(StrEnum):
    """How a thermodynamic objective spaces its points."""

    LOG = "log"
    """Evenly in the logarithms."""
    LINEAR = "linear"
    """Evenly."""
    MOMENTS = "moments"
    """So that the data's mean log-weight rises by the same amount in every part. Training fits the points."""


class ScheduleShape(StrEnum):
    """How a parameter of an objective moves from its start to its end during training."""

    LOG = "log"
    """One minus the value is multiplied by the same factor in every step."""
    LINEAR = "linear"
    """The value moves by the same amount in every step."""


class Promise(StrEnum):
    """Whether a pair's expected gradient equals the gradient of its own target."""

    UNBIASED = "unbiased"
    BIASED = "biased"


class Verdict(StrEnum):
    """The finding of a bias check."""

    UNBIASED = "unbiased"
    BIASED = "biased"
    INCONCLUSIVE = "inconclusive"
    IDENTICAL = "identical"


class Severity(StrEnum):
    """How much a finding about a user's model matters."""

    ERROR = "error"
    """Training with it would give wrong numbers, or stop."""
    WARNING = "warning"
    """It may be on purpose."""


class Network(StrEnum):
    """The network that a gradient belongs to."""

    ENCODER = "encoder"
    """The posterior q. Each estimator has its own gradient."""
    DECODER = "decoder"
    """The model p, without the parameters of a learned prior. Each objective has its own gradient, which is the same
    for all estimators."""
    PRIOR = "prior"
    """All parameters that log p(z) depends on; a parameter that another network shares counts here with the whole
    gradient of p. Each objective and each kind of the prior's gradient has its own gradient."""


class Split(StrEnum):
    """A part of a data set."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"


class FinalEval(StrEnum):
    """The splits whose bounds a run computes at its end."""

    ALL = "all"
    TEST = "test"
    NONE = "none"


CONVENTIONS: Final = ("dreg", "burda", "larochelle")
"""The published ways to split a data set; a data set may also have a way of its own."""

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
"""Common names for the parts of a data set."""


def split_word(word: str) -> str:
    """Return the program's word for a split's common name; return any other word unchanged."""
    return SPLIT_WORDS.get(word.strip().lower(), word)


class DatasetName(StrEnum):
    """The data sets of the catalogue. ``data.catalogue.DATASETS`` holds one entry for each.

    All other data sets are imported by users.
    """

    DIGITS = "digits"
    MNIST = "mnist"
    BINARIZED_MNIST = "binarized-mnist"
    FASHION_MNIST = "fashion-mnist"
    OMNIGLOT = "omniglot"
    OMNIGLOT_LAKE = "omniglot-lake"
    CALTECH101_SILHOUETTES = "caltech101-silhouettes"
    LINEAR_GAUSSIAN = "linear-gaussian"


class DataKind(StrEnum):
    """The kind of values that a data set has."""

    BINARY = "binary"
    """0 or 1."""
    INTENSITY = "intensity"
    """Grey levels, from which binary pixels may be drawn."""
    REAL = "real"
    """Any finite numbers."""

    @property
    def is_bounded(self) -> bool:
        """Whether 0 is black, and 1 or the highest level is white."""
        return self is not DataKind.REAL

    @property
    def has_levels(self) -> bool:
        """Whether the values may be whole-number levels between black and white."""
        return self is DataKind.INTENSITY


class Channels(StrEnum):
    """How the program treats the colours of imported images."""

    KEEP = "keep"
    """Keep the colours: an image has 3 channels, or 4 with alpha."""
    GREY = "grey"
    """Turn the colours to grey, in one channel."""


class Flip(StrEnum):
    """How imported images are mirrored."""

    HORIZONTAL = "horizontal"
    """Swap left and right."""
    VERTICAL = "vertical"
    """Swap top and bottom."""


class LikelihoodName(StrEnum):
    """The distribution of pixels given the decoder's output. ``engine.likelihoods`` holds one entry for each."""

    BERNOULLI = "bernoulli"
    GAUSSIAN = "gaussian"
    DISCRETISED_LOGISTIC = "discretised-logistic"


class ModelName(StrEnum):
    """The model that is trained.

    ``app.loading.build`` makes each. ``app.planning.architectures`` holds the settings that follow from each.
    """

    VAE = "vae"
    """Tanh networks (arXiv 1810.04152)."""
    LINEAR_GAUSSIAN = "linear-gaussian"
    """Probabilistic PCA with a linear encoder. Its log p(x) is known exactly."""


class PosteriorOrder(StrEnum):
    """The order in which the posterior of a model with several stochastic layers draws them."""

    BOTTOM_UP = "bottom-up"
    """q(z1 | x), then q(z2 | z1), and so on (arXiv 1509.00519)."""
    TOP_DOWN = "top-down"
    """q(zL | x), then q(z_l | z_(l+1), x) down to z1."""


class TopPrior(StrEnum):
    """The prior of the top stochastic layer."""

    STANDARD = "standard"
    """N(0, I)."""
    LEARNED = "learned"
    """A diagonal Gaussian whose means and scales are parameters."""


class Task(StrEnum):
    """The task of a model: whole images, or one half of an image given the other half."""

    GENERATIVE = "generative"
    STRUCTURED = "structured"
    """The bottom half given the top half (arXiv 1810.04152)."""
    STRUCTURED_REFERENCE = "structured-reference"
    """As in the paper's published code: the top half given the bottom half, with biases and centring crossed."""


class Binarisation(StrEnum):
    """How intensities become pixels. ``specs.binarisation`` reads the words with their parameters."""

    DYNAMIC = "dynamic"
    """x ~ Bernoulli(intensity), drawn again in every step."""
    STATIC_SEED = "static-seed"
    """x ~ Bernoulli(intensity), drawn once for every example by a seed."""
    THRESHOLD = "threshold"
    """x = 1 where the intensity exceeds a threshold."""
    NONE = "none"
    """Use the values unchanged."""


class PriorGradient(StrEnum):
    """How the gradient of a learned prior's parameters is computed."""

    SCORE = "score"
    """By the prior's score at the samples."""
    GDREG = "gdreg"
    """Along samples of the prior that are equal to the posterior's samples (arXiv 2101.11046)."""
    BLEND = "blend"
    """Between both, by the posterior's variance as a share of the prior's."""


class SampleNoise(StrEnum):
    """How the noise of the samples of one example depends on each other."""

    IID = "iid"
    """Independent samples."""
    ANTITHETIC = "antithetic"
    """Pairs of samples from noise and minus the same noise."""


class EvalNoise(StrEnum):
    """How the noise of the samples of one example depends on each other in an evaluation."""

    IID = "iid"
    """Independent samples."""
    ANTITHETIC = "antithetic"
    """Pairs of samples from noise and minus the same noise."""
    SOBOL = "sobol"
    """Randomly shifted Sobol points, mapped by the normal quantile."""


class OptimizerName(StrEnum):
    """The optimizers of ``torch.optim`` that take plain gradients, in small letters."""

    ADAM = "adam"
    ADAMW = "adamw"
    SGD = "sgd"
    RMSPROP = "rmsprop"
    ADAGRAD = "adagrad"
    ADADELTA = "adadelta"
    ADAMAX = "adamax"
    NADAM = "nadam"
    RADAM = "radam"
    ASGD = "asgd"
    RPROP = "rprop"


class ScheduleName(StrEnum):
    """How the learning rate changes during training."""

    CONSTANT = "constant"
    COSINE = "cosine"
    STEP = "step"
    BURDA = "burda"


class Shard(StrEnum):
    """What of a step is divided among the ranks of a run."""

    SAMPLES = "samples"
    """Each rank has some of the K samples of every example."""
    BATCH = "batch"
    """Each rank has all samples of some examples."""


class Backward(StrEnum):
    """The rows that the gradient pass uses, among the K samples of every example."""

    DENSE = "dense"
    """Use all rows."""
    SCREENED = "screened"
    """Use a random few rows, each weighted by one over the probability that it was kept. The result is an unbiased
    estimate of the dense gradient."""


class Precision(StrEnum):
    """How exact the log-weights of screening's first pass are. Sums and densities are float32 in all cases.

    Values other than ``FLOAT32`` are approximate: bfloat16 rounds the inputs of matrix products, and linearised
    replaces the density of pixels that is nearly linear in the decoder's last hidden layer by its tangent. Their
    errors are corrected, so that gradients keep their expectation.
    """

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    LINEARISED = "linearised"


class Capture(StrEnum):
    """How much of the changes in the source tree a run keeps, in addition to the commit.

    Text that looks like a secret is never kept.
    """

    NONE = "none"
    """Keep only whether there are changes."""
    NAMES = "names"
    """Keep the diff of tracked files, and names, sizes and digests of the untracked files."""
    SOURCE = "source"
    """Keep the same as ``names``, and also the content of untracked source files."""


class EvalMethod(StrEnum):
    """How log p(x) is estimated."""

    IMPORTANCE = "importance"
    """Importance sampling from the posterior."""
    AIS = "ais"
    """Importance sampling from the posterior, and also annealed importance sampling (AIS) from the prior, which does
    not use the posterior."""


class Opinion(StrEnum):
    """The result of comparing annealed importance sampling (AIS) with an importance estimate."""

    AGREES = "agrees"
    HIGHER = "higher"
    """AIS is higher: importance sampling has missed mass."""
    LOWER = "lower"
    """AIS is lower: the annealing was too short."""
    K_TOO_SMALL = "k-too-small"
    """No comparison is possible: the bound still rises with K by more than the compared difference."""
    UNKNOWN = "unknown"
    """No comparison is possible: the random error of one of the two estimates is not known."""


class ChanceMethod(StrEnum):
    """How the random error of a mean of bounds was estimated."""

    GROUPS = "groups"
    """From the variance between disjoint groups of K samples, for every example."""
    REPEATS = "repeats"
    """From the variance between independent draws, for every example."""
    LEFT_OUT = "left-out"
    """From the change of every example's bound when each sample is left out in turn."""


class Place(StrEnum):
    """Where the runs of a study are trained."""

    LOCAL = "local"
    """On this machine."""
    SLURM = "slurm"
    """On a cluster of SLURM: each run is a task of an array, and the command does not wait for it."""
    RAY = "ray"
    """On a Ray cluster: each run is a task, and the command waits for all of them."""


class RunStatus(StrEnum):
    """The state of a run.

    The program never writes ``crashed``. It shows ``crashed`` when a file says ``running`` but the writer is dead.
    """

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like ``word``, or None when no name is close enough."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """Return the message for a name that does not exist: the nearest known name first, then all known names."""
    names = list(known)
    near = nearest(word, names)
    meant = f" Did you mean '{near}'?" if near else ""
    return f"no {kind} is called '{word}'.{meant} Known: {', '.join(names)}."
