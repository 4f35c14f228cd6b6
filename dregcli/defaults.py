"""Numbers that more than one layer has as its default, each stated once. Standard library only."""

from typing import Final

NOISE_BLOCK: Final = 16
"""Samples per noise block. Torch's normals depend on the size of the tensor they fill, so a block is always
drawn whole and then sliced; with that, the noise of K = 64 is the prefix of that of K = 1024. Chunks of K of other
sizes would draw some noise twice."""

DEFAULT_INFLATION: Final = 0.15
"""What screening may add to the second moment of a gradient, as a share of it."""

FALSE_ALARM: Final = 1e-3
"""The probability that a bias check calls any unbiased pair biased, over the whole call."""

DETECT: Final = 0.02
"""The smallest relative bias that a check must be able to detect before it reports 'unbiased'."""

MAX_BATCHES: Final = 12_288
"""Batches after which a bias check ends."""

DIAGNOSED_EXAMPLES: Final = 32
"""Training examples that a diagnosis looks at."""
