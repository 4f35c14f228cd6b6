"""Default values that several layers share, each stated once. Standard library only."""

from typing import Final

NOISE_BLOCK: Final = 16
"""Samples per noise block. Torch's normal numbers depend on the size of the tensor that they fill, so the program
always draws a whole block and then slices it. Therefore the noise of K = 64 is a prefix of the noise of K = 1024.
Chunks of K with other sizes would draw some noise twice."""

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
