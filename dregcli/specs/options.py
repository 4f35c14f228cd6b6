"""The settings that a user can give for a run, each defined once: type, default, help, panel and how to type it.

The options of the command line are generated from these fields. ``RunSpec`` narrows their types to the values of a
resolved run. To add a setting, add a field here and the code that uses it.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema, field_validator
from pydantic.fields import FieldInfo

from dregcli.defaults import DEFAULT_INFLATION, DEFAULT_K, MOST_TRAINING_EVAL_K, TRAINING_PER_VALIDATION, VALIDATIONS
from dregcli.devices import PATTERN, checked_device
from dregcli.devices import WORDS as DEVICES
from dregcli.names import (
    CONVENTIONS,
    Backward,
    Capture,
    DatasetName,
    FinalEval,
    LikelihoodName,
    ModelName,
    OptimizerName,
    PosteriorOrder,
    Precision,
    PriorGradient,
    SampleNoise,
    ScheduleName,
    Shard,
    Task,
    TopPrior,
)
from dregcli.parts import known_words
from dregcli.posteriors import WORDS as POSTERIORS
from dregcli.specs.binarisation import WORDS as BINARISATIONS
from dregcli.specs.execution import AUTO, STRICT, Inflation, Positive
from dregcli.specs.layers import usual_in_words
from dregcli.specs.models import PROGRAMS, split_models
from dregcli.specs.shown import (
    Panel,
    Shown,
    joined,
    layer_sizes,
    number_or_numbers,
    number_or_word,
    values_by_name,
)

OBJECTIVES, ESTIMATORS = known_words()


def _one_of(names: Iterable[str]) -> str:
    """Join names as in ``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _one_pattern(pattern: str) -> dict[str, Any]:
    """Return the JSON schema of a text with a pattern, whole."""
    return {"type": "string", "pattern": f"^({pattern})$"}


Auto = Literal["auto"]
OnOff = Literal["on", "off"]
Device = Annotated[str, AfterValidator(checked_device), WithJsonSchema(_one_pattern(PATTERN))]
DeviceOrAuto = Annotated[
    str,
    AfterValidator(lambda word: checked_device(word, AUTO)),
    WithJsonSchema(_one_pattern(f"{AUTO}|{PATTERN}")),
]
Steps = Annotated[int, Field(ge=1, le=2**53)]
Threads = Annotated[int, Field(ge=1, le=4096)]
EvalEvery = Annotated[int, Field(ge=0)]
# A config file has lists and plain words, but strict validation would only accept tuples and members of a StrEnum.
ModelOptions = dict[str, bool | int | float | str]
LayerSizes = Annotated[tuple[Positive, ...], Field(strict=False)]
SizesOfLayers = Annotated[tuple[LayerSizes, ...], Field(strict=False)]
Words = Annotated[tuple[str, ...], Field(strict=False)]
AnyBackward = Annotated[Backward, Field(strict=False)]
AnyLikelihood = Annotated[LikelihoodName, Field(strict=False)]
AnyPriorGradient = Annotated[PriorGradient, Field(strict=False)]
AnyNoise = Annotated[SampleNoise, Field(strict=False)]
AnyOrder = Annotated[PosteriorOrder, Field(strict=False)]
AnyPrecision = Annotated[Precision, Field(strict=False)]
AnyTopPrior = Annotated[TopPrior, Field(strict=False)]

_BY_KIND: Final = "depends on the kind of data"


class ParentSpec(BaseModel, frozen=True):
    """The start of a run that trains only q: a checkpoint of another run, whose theta it keeps."""

    model_config = STRICT

    run: str = Field(pattern=r"^[^/]+/v[0-9]+$", description="NAME/v001")
    checkpoint: int = Field(ge=0, description="The step of the checkpoint.")
    model_sha256: str = Field(description="SHA-256 of the checkpoint's named model tensors.")
    reset_encoder: bool = Field(
        default=False, description="Whether q starts with new initial parameters from the seed."
    )


class Settings(BaseModel, frozen=True):
    """The settings that both a request and a resolved run have, with the types of the request.

    Lengths are in optimisation steps. None means that the user left a field open, and that its value follows from the
    other fields. A field without a default here has a default in a request, and must be stated in a resolved run.
    """

    model_config = STRICT

    dataset: Annotated[str, Shown(Panel.DATA, "NAME")] = Field(
        description=f"{_one_of(DatasetName)}, or your own data: see `dreg data list`."
    )
    task: Annotated[Task, Shown(Panel.DATA)] = Field(
        default=Task.GENERATIVE,
        strict=False,
        description=f"{_one_of(Task)}: model whole images, or one half of an image given the other half.",
    )
    split_convention: Annotated[str | None, Shown(Panel.DATA, "NAME", "the data set's first")] = Field(
        description=f"Published split to use: {_one_of(CONVENTIONS)}, if the data set has it.",
    )
    binarisation: Annotated[str | None, Shown(Panel.DATA, "WORD", _BY_KIND, must_be=BINARISATIONS)] = Field(
        default=None,
        description=f"How intensities become binary pixels: {BINARISATIONS}.",
    )
    data_checksum: str | None = Field(description="Checksum of the pixels of all splits.")

    model: Annotated[str, Shown(Panel.MODEL, "WORD", split=split_models)] = Field(
        default=ModelName.VAE.value,
        description=f"{_one_of([*ModelName, *PROGRAMS])}; or a class of your own: my_model.py:ConvVae, "
        "package.module:ConvVae.",
    )
    model_options: Annotated[
        ModelOptions,
        Shown(
            Panel.MODEL,
            "NAME=VALUE",
            "the constructor's",
            typed_all=values_by_name,
            option="model-option",
            must_be="a value by its name, such as latent_dim=16, in a file: [model-options]",
        ),
    ] = Field(default={}, description="Option of your own model's constructor; give it several times for several.")
    model_digest: str | None = Field(default=None, description="SHA-256 of the source code of your own model.")
    model_before: Words = Field(
        default=(),
        description="Digests of other code with which the run took its first steps, each with the last of these "
        "steps: DIGEST@STEP.",
    )
    likelihood: Annotated[AnyLikelihood | None, Shown(Panel.MODEL, default=_BY_KIND)] = Field(
        default=None, description=f"Distribution of the pixels: {_one_of(LikelihoodName)}."
    )
    hidden: Annotated[
        LayerSizes | SizesOfLayers | None,
        Shown(
            Panel.MODEL,
            "N,N,...",
            usual_in_words("hidden"),
            layer_sizes,
            has_commas=True,
            must_be="layer sizes such as 200,200 or 200,200/100,100, in a file [200, 200] or "
            "[[200, 200], [100, 100]]",
        ),
    ] = Field(
        default=None,
        description="Sizes of the hidden layers; with a slash between those of two stochastic layers.",
    )
    latent_dim: Annotated[
        Positive | LayerSizes | None,
        Shown(
            Panel.MODEL,
            "N,N,...",
            usual_in_words("latent_dim"),
            number_or_numbers,
            has_commas=True,
            must_be="a whole number from 1, or one for each of several stochastic layers, such as 100,50; in a file "
            "50 or [100, 50]",
        ),
    ] = Field(
        default=None,
        description="Number of latent dimensions; of several stochastic layers one number each, counted from x on.",
    )
    posterior: Annotated[str | None, Shown(Panel.MODEL, "WORD", "diagonal", must_be=POSTERIORS)] = Field(
        default=None, description=f"Family of the posterior q: {POSTERIORS}."
    )
    posterior_order: Annotated[AnyOrder | None, Shown(Panel.MODEL, default=PosteriorOrder.BOTTOM_UP.value)] = Field(
        default=None,
        description=f"{_one_of(PosteriorOrder)}: the order in which q draws several stochastic layers.",
    )
    top_prior: Annotated[AnyTopPrior | None, Shown(Panel.MODEL, default=TopPrior.STANDARD.value)] = Field(
        default=None,
        description=f"{_one_of(TopPrior)}: the prior of the top one of several stochastic layers.",
    )

    objective: Annotated[str, Shown(Panel.OBJECTIVE, "WORD")] = Field(
        default="iwae",
        description=f"{_one_of(OBJECTIVES)}; with parameters: vr-iwae:alpha=0.3, or 'vr-iwae:alpha=.99->0@1000' for "
        "one that changes in 1000 steps.",
    )
    estimator: Annotated[str, Shown(Panel.OBJECTIVE, "WORD")] = Field(
        default="dreg",
        description=f"{_one_of(ESTIMATORS)}; or a pair such as rws/dreg. `dreg estimators` lists all pairs.",
    )
    k: Annotated[Positive, Shown(Panel.OBJECTIVE)] = Field(default=DEFAULT_K, description="Samples per example.")
    prior_gradient: Annotated[
        AnyPriorGradient | Auto,
        Shown(
            Panel.OBJECTIVE,
            must_be=f"{AUTO}, {_one_of(PriorGradient)}",
            auto="auto takes blend where that is possible, otherwise score.",
        ),
    ] = Field(
        default=AUTO,
        description=f"{_one_of(PriorGradient)}: how the gradient of a learned prior is computed; a fixed prior has "
        "none.",
    )
    noise: Annotated[AnyNoise, Shown(Panel.OBJECTIVE)] = Field(
        default=SampleNoise.IID,
        description=f"{_one_of(SampleNoise)}: independent samples, or pairs from noise and minus the same noise.",
    )
    track_estimators: Annotated[
        str | Words,
        Shown(
            Panel.OBJECTIVE,
            "WORDS",
            "none",
            has_commas=True,
            typed_all=joined,
            must_be="words with commas between, such as stl,dreg",
        ),
    ] = Field(
        default=(),
        description="Also log gradient variance and SNR of these estimators, such as stl,rws/dreg.",
    )

    steps: Annotated[Steps, Shown(Panel.OPTIMISATION)] = Field(description="Optimisation steps.")
    batch_size: Annotated[Positive, Shown(Panel.OPTIMISATION)] = Field(default=32, description="Examples per step.")
    optimizer: Annotated[str, Shown(Panel.OPTIMISATION, "WORD")] = Field(
        default="adam", description=f"{_one_of(OptimizerName)}, of torch.optim; with options: sgd:momentum=0.9."
    )
    lr: Annotated[float, Shown(Panel.OPTIMISATION)] = Field(default=1e-3, gt=0, description="Learning rate.")
    lr_posterior: Annotated[float | None, Shown(Panel.OPTIMISATION, default="--lr")] = Field(
        default=None, gt=0, description="Learning rate of the parameters that only the posterior q has."
    )
    lr_schedule: Annotated[str, Shown(Panel.OPTIMISATION, "WORD")] = Field(
        default="constant",
        description=f"{_one_of(ScheduleName)}: how the learning rates change during training; with options: "
        "cosine:end=0.1.",
    )
    warmup_steps: Annotated[int, Shown(Panel.OPTIMISATION)] = Field(
        default=0, ge=0, description="Steps in which the learning rates rise to their scheduled values."
    )
    grad_clip: Annotated[float | None, Shown(Panel.OPTIMISATION, "NORM", "none")] = Field(
        default=None, gt=0, description="Largest Euclidean norm of a step's whole gradient; a larger one is scaled."
    )
    kl_warmup: Annotated[int, Shown(Panel.OPTIMISATION, "STEPS")] = Field(
        default=0,
        ge=0,
        description="Steps in which the weight of log p(z) - log q(z|x) in the objective rises from 0 to 1.",
    )
    ema: Annotated[float | None, Shown(Panel.OPTIMISATION, "DECAY", "none")] = Field(
        default=None,
        gt=0,
        lt=1,
        description="Evaluate and keep the moving average of the weights with this decay, such as 0.999.",
    )
    patience: Annotated[Positive | None, Shown(Panel.OPTIMISATION, "N", "none")] = Field(
        default=None,
        description="Stop after N validations without a better bound; the final bounds are those of the best "
        "checkpoint.",
    )
    # Typer reads 0-4 as -4, so that the text is kept until all faults are found.
    seed: Annotated[int, Shown(Panel.OPTIMISATION, "INTEGER", typed=number_or_word, has_commas=True)] = Field(
        default=0, ge=0, lt=2**63, description="Random seed for training."
    )

    device: Annotated[
        DeviceOrAuto,
        Shown(
            Panel.EXECUTION,
            "WORD",
            must_be=f"{AUTO}, {DEVICES}",
            auto="auto takes cuda if there is one, else cpu.",
        ),
    ] = Field(
        default=AUTO,
        description=f"Device for the computation: {DEVICES}. cuda:1 is the second GPU; mps, the GPU of a Mac, has "
        "only float32 and has never been tried.",
    )
    threads: Annotated[
        Threads | Auto | None,
        Shown(
            Panel.EXECUTION,
            "N|auto",
            AUTO,
            number_or_word,
            must_be=f"a whole number from 1 to 4,096 or {AUTO}",
            auto="auto lets torch choose.",
        ),
    ] = Field(default=AUTO, description="Number of CPU threads for torch.")
    backward: Annotated[
        AnyBackward | Auto,
        Shown(
            Panel.EXECUTION,
            must_be=f"{AUTO}, {_one_of(Backward)}",
            auto="auto takes dense if all samples have the same weight, otherwise screened.",
        ),
    ] = Field(
        default=AUTO,
        description=f"{_one_of(Backward)}: compute the gradient with all samples (dense) or with a random few of "
        "them (screened); both are unbiased.",
    )
    screen_inflation: Annotated[Inflation | None, Shown(Panel.EXECUTION, default=f"{DEFAULT_INFLATION}")] = Field(
        default=None, description="Allowed relative growth of the gradient's variance by screening, up to 1."
    )
    screen_precision: Annotated[AnyPrecision | None, Shown(Panel.EXECUTION, default="the fastest one here")] = Field(
        default=None,
        description=f"How exact screening's first pass is: {_one_of(Precision)}. The gradient is unbiased with each.",
    )
    k_chunk: Annotated[
        Positive | Auto | None,
        Shown(
            Panel.EXECUTION,
            "N|auto",
            AUTO,
            number_or_word,
            must_be=f"a positive whole number or {AUTO}",
            auto="auto chooses by the memory and the cache of this machine.",
        ),
    ] = Field(
        default=AUTO,
        description="Samples computed at once: a multiple of 16, or K. Fewer need less memory but more time.",
    )
    shard: Annotated[Shard, Shown(Panel.EXECUTION)] = Field(
        default=Shard.SAMPLES,
        strict=False,
        description=f"{_one_of(Shard)}: what the ranks of a run under torchrun share.",
    )
    compile: Annotated[
        OnOff | Auto,
        Shown(Panel.EXECUTION, must_be="auto, on or off", auto="auto uses it where it saves time."),
    ] = Field(default=AUTO, description="on or off: use torch.compile for the likelihood.")

    eval_every: Annotated[
        EvalEvery | Auto,
        Shown(
            Panel.OUTPUT,
            "N|auto",
            AUTO,
            number_or_word,
            must_be=f"a whole number from 0 or {AUTO}",
            auto=f"auto evaluates {VALIDATIONS} times over all steps; fewer times, but at least at the end, so that "
            f"training computes {TRAINING_PER_VALIDATION} rows (samples x examples) or more for each row of an "
            f"evaluation; with --patience always {VALIDATIONS} times.",
        ),
    ] = Field(default=AUTO, description="Steps between evaluations on validation; 0 evaluates only at the end.")
    eval_k: Annotated[
        Positive | None, Shown(Panel.OUTPUT, default=f"the K of training, at most {MOST_TRAINING_EVAL_K:,}")
    ] = Field(default=None, description="Samples per example in the evaluations during training and at its end.")
    final_eval: Annotated[FinalEval, Shown(Panel.OUTPUT)] = Field(
        default=FinalEval.ALL,
        strict=False,
        description=f"{_one_of(FinalEval)}: splits of the bounds that are computed at the end.",
    )
    eval_seed: Annotated[int, Shown(Panel.OUTPUT)] = Field(
        default=0, ge=0, lt=2**63, description="Seed for evaluation; keep it fixed to compare runs."
    )
    checkpoint_every: Annotated[int, Shown(Panel.OUTPUT)] = Field(
        default=500,
        ge=0,
        description="Steps between checkpoints, in addition to the best, the last and one every 5 minutes; 0 writes "
        "only these.",
    )
    keep_last: Annotated[int, Shown(Panel.OUTPUT)] = Field(
        default=2, ge=1, description="Number of newest checkpoints to keep, in addition to the best."
    )
    log_every: Annotated[int, Shown(Panel.OUTPUT)] = Field(default=50, ge=1, description="Steps per row of metrics.")
    capture: Annotated[Capture, Shown(Panel.OUTPUT)] = Field(
        default=Capture.NAMES,
        strict=False,
        description="Parts of dreg's source tree that the run keeps. none: only the commit; names: also the diff, "
        "and names and digests of untracked files; source: also the content of untracked source files. Never "
        "passwords or keys.",
    )
    parent: ParentSpec | None = Field(default=None, description="Start of a run that trains only the encoder.")


class RunOptions(Settings, frozen=True):
    """A request for a run: ``auto``, epochs and seeds are allowed."""

    dataset: str = DatasetName.DIGITS.value
    split_convention: str | None = None
    data_checksum: str | None = None
    steps: Steps = 2000
    epochs: Annotated[Positive | None, Shown(Panel.OPTIMISATION)] = Field(
        default=None, description="Passes over the data, instead of --steps."
    )
    seeds: Annotated[
        str | None,
        Shown(
            Panel.OPTIMISATION,
            "SEEDS",
            has_commas=True,
            typed_all=joined,
            must_be='a text such as "0-4" or "0,2,5-7"',
        ),
    ] = Field(
        default=None, description="Run a study: one run for each seed, such as 0-4 or 0,2,5-7, and then a report."
    )
    spec_version: Literal[1] | None = Field(default=None, description="Set by a run's spec.json.")

    @field_validator("spec_version", mode="before")
    @classmethod
    def _check_version(cls, version: object) -> object:
        if version not in (None, 1):
            message = f"must be 1, got {version!r}: if a newer dreg wrote this file, use it with that dreg."
            raise ValueError(message)
        return version


SAME_MEANING: Final = (("steps", "epochs"), ("seed", "seeds"))
"""Pairs of options with the same meaning. The help shows them together, and a user can give only one of them."""


def fields_in_order() -> list[str]:
    """Return the fields of ``RunOptions`` in the order of the help."""
    after = dict(SAME_MEANING)
    return [each for field in Settings.model_fields for each in (field, after.get(field)) if each]


def described(field: str) -> tuple[str, Shown | None]:
    """Return the help of a field, and how the command line shows it; None if only a config file can give it."""
    info = _info(field)
    ways = [each for each in info.metadata if isinstance(each, Shown)]
    text = info.description or ""
    return (f"{text} {ways[0].auto or ''}".rstrip(), ways[0]) if ways else (text, None)


def described_when_resolved(field: str) -> str:
    """Return the description of a field in a resolved run, where no value is ``auto``."""
    return _info(field).description or ""


def _info(field: str) -> FieldInfo:
    """Return a field with its description: ``RunOptions`` states some fields of ``Settings`` again, without it."""
    return Settings.model_fields.get(field) or RunOptions.model_fields[field]
