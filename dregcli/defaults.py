"""Default values that several layers share, each stated once. Standard library only."""

from typing import Final

NOISE_BLOCK: Final = 16
"""Samples per noise block. Torch's normal numbers depend on the size of the tensor that they fill, so the program
always draws a whole block and then slices it. Therefore the noise of K = 64 is a prefix of the noise of K = 1024.
Chunks of K with other sizes would draw some noise twice."""

DEFAULT_K: Final = 64
"""Samples per example in training and in a diagnosis."""

MOST_TRAINING_EVAL_K: Final = 1000
"""Largest number of samples per example that training chooses for its evaluations; it takes its own K up to this
number. A training step has few examples, but an evaluation has whole splits."""

VALIDATIONS: Final = 20
"""Most evaluations on the validation split over a whole training, if the user does not say how often."""

TRAINING_PER_VALIDATION: Final = 4
"""Rows (samples x examples) that a training computes for each row of its validations, at least, if the user does not
say how often it validates. A row of a screened step takes about 1.5 times as long as one of an evaluation, of a dense
step about three times, so that validations take about a sixth or a twelfth of the time of the steps. Rows are
counted, not seconds, so that the number is the same on every machine."""

DEFAULT_INFLATION: Final = 0.15
"""The share by which screening may increase the second moment of a gradient."""

FALSE_ALARM: Final = 1e-3
"""The probability that a bias check calls any unbiased pair biased, over the whole call."""

DETECT: Final = 0.02
"""The smallest relative bias that a check must be able to detect before it reports 'unbiased'."""

MAX_BATCHES: Final = 12_288
"""Batches after which a bias check ends."""

DIAGNOSED_EXAMPLES: Final = 32
"""Training examples that a diagnosis uses."""

TRAINING_STEPS: Final = 1000
"""Training steps before a diagnosis that names no run, as in the reference code's ``--bias_check``."""

MODEL_KS: Final = "1,4,16,64"
TOY_KS: Final = "4,16,64,256"
"""Numbers of samples at which gradients are measured, of a model and of the toy."""

MODEL_REPLICATES: Final = 200
TOY_REPLICATES: Final = 4000
"""Independent gradients at each number of samples, of a model and of the toy."""

LEAST_REFERENCE_K: Final = 1024
"""Samples per example of the reference gradient, if no measured number of samples is larger."""

ADVICE_SECONDS: Final = 60.0
"""Seconds that the measurements of an advice take, if the user does not say how many."""

PICTURE_HEIGHT: Final = 64
"""Approximate height in screen pixels to which ``dreg sample`` enlarges small images."""

EVALUATED_KS: Final = "500"
"""Samples per example of an evaluation."""

ACTIVE_VARIANCE: Final = 0.01
"""A latent is active if the variance over examples of q's mean exceeds this value (arXiv 1509.00519, 5.1)."""

ANNEALED_EXAMPLES: Final = 100
"""Examples that AIS evaluates, from the start of a split."""

ANNEALING_STEPS: Final = 1000
"""Temperatures of AIS."""

ANNEALING_CHAINS: Final = 16
"""Chains of AIS for each example."""
