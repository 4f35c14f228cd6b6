"""How gradients are computed: the options of the executor, and their rules, each stated once."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from dregcli.defaults import DEFAULT_INFLATION, DEFAULT_K, NOISE_BLOCK
from dregcli.names import Backward, Precision

AUTO: Final = "auto"

DEFAULT_PRECISION: Final = Precision.FLOAT32

ROUNDING_ONLY: Final = ("k_chunk", "compile", "threads", "shard")
"""Fields that change results only by rounding. Their ``auto`` depends on the current memory, compiler and processor.
Therefore two runs that differ only in these fields repeat each other, and a resumed run may use other values."""

# Strict: true is not 1, and "5" is not 5. A wrong value in a config must be refused, not trained with.
STRICT: Final = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Inflation = Annotated[float, Field(gt=0, le=1)]


class ExecutionSpec(BaseModel, frozen=True):
    """How the gradients of K samples are computed. Everything is resolved: no field is ``auto``.

    ``Settings`` describes the fields. None means: no screening (``screen_inflation``, ``screen_precision``), or all
    samples at once (``k_chunk``).
    """

    model_config = STRICT

    k: Positive = DEFAULT_K
    backward: Backward = Field(default=Backward.DENSE, strict=False)
    screen_inflation: Inflation | None = Field(default=None, validate_default=True)
    screen_precision: Precision | None = Field(default=None, validate_default=True, strict=False)
    k_chunk: Positive | None = None

    @field_validator("screen_inflation", "screen_precision")
    @classmethod
    def _check_screening(cls, value: object, info: ValidationInfo) -> object:
        backward = info.data.get("backward")
        if backward is Backward.DENSE and value is not None:
            message = "only applies with --backward screened."
            raise ValueError(message)
        if backward is Backward.SCREENED and value is None:
            message = "is missing: a screened run needs it."
            raise ValueError(message)
        return value

    @field_validator("k_chunk")
    @classmethod
    def _check_chunk(cls, chunk: int | None, info: ValidationInfo) -> int | None:
        k = info.data.get("k")
        if chunk is None or k is None or chunk == k:
            return chunk
        if chunk > k:
            message = f"must be at most k, which is {k}, got {chunk}."
            raise ValueError(message)
        if chunk % NOISE_BLOCK:
            message = f"must be a multiple of {NOISE_BLOCK}, or k itself, which is {k}, got {chunk}."
            raise ValueError(message)
        return chunk


def with_screening(
    backward: Backward, inflation: float | None, precision: Precision | None
) -> tuple[float | None, Precision | None]:
    """Return inflation and precision of a pass; a screened pass gets the default of each value that is None."""
    if backward is not Backward.SCREENED:
        return inflation, precision
    return (
        DEFAULT_INFLATION if inflation is None else inflation,
        DEFAULT_PRECISION if precision is None else precision,
    )


def gradient_in_words(spec: ExecutionSpec) -> str:
    """Describe how the gradients and the logged training bound are computed."""
    if spec.backward is Backward.DENSE:
        return "dense, over all rows"
    words = f"screened, inflation {spec.screen_inflation:g}"
    if spec.screen_precision is not Precision.FLOAT32:
        words += f"; first pass and logged training bound: {spec.screen_precision}, corrected at random"
    return words
