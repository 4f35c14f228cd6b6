"""A run's metrics for TensorBoard: one file of events, made in memory.

Where the reference implementation (arXiv 1810.04152) has a summary, its name is used: ``log_p_hat/train`` is the
bound, ``inference_grad_variance/ESTIMATOR`` and ``model_grad_variance/ESTIMATOR`` are moving averages. Its
``inference_grad_snr_sq`` is a mean of squares, which a run does not keep: ``inference_grad_snr/ESTIMATOR`` is the SNR
itself. TensorBoard keeps float32.
"""

import importlib
import io
import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from dregcli.columns import tracked_columns
from dregcli.errors import UsageError
from dregcli.report.series import Metrics, seconds_at
from dregcli.wording import typed_list

_BOUND: Final = "bound"
_NETWORKS: Final = {"posterior": "inference", "model": "model"}
_VERSION: Final = "brain.Event:2"


@dataclass(frozen=True)
class Row:
    """Values of one split at one step.

    Attributes:
        step: optimisation step.
        seconds: seconds of optimisation until this step; NaN where they are not known.
        values: values by tag. A NaN is kept only in a row whose bound is not finite.
    """

    step: int
    seconds: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class RunEvents:
    """The parts of a run that become events.

    Attributes:
        metrics: metrics along training, by split and column.
        final: final bounds by split, nats per example.
        final_step: step of the weights of the final bounds and of the pictures: the last step, or the best one of a
            run with patience.
        spec: the spec as plain values.
        created: when the run was claimed, in seconds since 1970. An event's time is this plus the event's seconds.
        pictures: content of PNG files, by name.
    """

    metrics: Metrics
    final: Mapping[str, float]
    final_step: int
    spec: Mapping[str, Any]
    created: float
    pictures: Mapping[str, bytes]


def check_tensorboard() -> None:
    """Check that TensorBoard is installed. It is an optional dependency.

    Raises:
        UsageError: it is not installed; the error says how to install it.
    """
    try:
        importlib.import_module("tensorboard.summary.writer.record_writer")
    except ImportError as error:
        what = f"dreg needs the package tensorboard to write TensorBoard's files, and cannot load it: {error}."
        raise UsageError(
            what, where="--tensorboard", hint="in your clone of dreg: pip install -e '.[tensorboard]'"
        ) from error


def rows(metrics: Metrics, final: Mapping[str, float], final_step: int) -> list[Row]:
    """Return all rows, sorted by step. A final bound that the metrics do not contain gets its own row."""
    found = [row for split, columns in metrics.items() for row in _of_split(metrics, split, columns)]
    known = {(row.step, tag) for row in found for tag in row.values}
    for split, bound in final.items():
        tag = tag_of(_BOUND, split)
        if (final_step, tag) not in known:
            seconds = seconds_at(metrics, np.array([float(final_step)]))
            found.append(Row(final_step, math.nan if seconds is None else float(seconds[0]), {tag: bound}))
    return sorted(found, key=lambda row: row.step)


def _of_split(metrics: Metrics, split: str, columns: Mapping[str, Any]) -> Iterator[Row]:
    steps = columns["step"]
    seconds = columns.get("seconds")
    if seconds is None:
        seconds = seconds_at(metrics, steps.astype(np.float64))
    if seconds is None:
        seconds = np.full(len(steps), math.nan)
    tags = {name: tag_of(name, split) for name in columns if name != "step"}
    for i, step in enumerate(steps.tolist()):
        values = {tag: float(columns[name][i]) for name, tag in tags.items()}
        # If the bound is finite, NaN means that the row lacks the value; if not, the NaN is a result and is kept.
        if math.isfinite(values.get(tag_of(_BOUND, split), math.nan)):
            values = {tag: value for tag, value in values.items() if not math.isnan(value)}
        yield Row(step, float(seconds[i]), values)


def tag_of(column: str, split: str) -> str:
    """Return TensorBoard's tag for a column of metrics."""
    for tracked in tracked_columns([column]):
        window = "_window" if tracked.windowed else ""
        return f"{_NETWORKS[tracked.network]}_grad_{tracked.statistic}{window}/{tracked.estimator}"
    return f"{'log_p_hat' if column == _BOUND else column}/{split}"


def event_file(run: RunEvents) -> bytes:
    """Return the content of the file. Equal runs give equal bytes.

    Raises:
        UsageError: TensorBoard is not installed.
    """
    check_tensorboard()
    event_pb2 = importlib.import_module("tensorboard.compat.proto.event_pb2")
    summary_pb2 = importlib.import_module("tensorboard.compat.proto.summary_pb2")
    record_writer = importlib.import_module("tensorboard.summary.writer.record_writer")
    buffer = io.BytesIO()
    writer = record_writer.RecordWriter(buffer)

    def write(step: int, seconds: float, **content: Any) -> None:  # noqa: ANN401 - a field of the message
        time = run.created + (seconds if math.isfinite(seconds) else 0.0)
        writer.write(event_pb2.Event(wall_time=time, step=step, **content).SerializeToString())

    write(0, 0.0, file_version=_VERSION)
    for summary in _about(run):
        write(0, 0.0, summary=summary)
    found = rows(run.metrics, run.final, run.final_step)
    for row in found:
        values = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in row.values.items()]
        write(row.step, row.seconds, summary=summary_pb2.Summary(value=values))
    end = max((row.seconds for row in found if math.isfinite(row.seconds)), default=0.0)
    for name, png in run.pictures.items():
        width, height = png_size(png)
        image = summary_pb2.Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        value = summary_pb2.Summary.Value(tag=name, image=image)
        write(run.final_step, end, summary=summary_pb2.Summary(value=[value]))
    return buffer.getvalue()


def _about(run: RunEvents) -> Iterator[object]:
    """Return the spec as hyperparameters, for sorting and filtering, and as text."""
    hparams = importlib.import_module("tensorboard.plugins.hparams.summary_v2")
    text = importlib.import_module("tensorboard.plugins.text.summary_v2")
    yield hparams.hparams_pb(hyperparameters(run.spec), start_time_secs=run.created)
    yield text.text_pb("spec", f"```json\n{json.dumps(run.spec, indent=1)}\n```")


def hyperparameters(spec: Mapping[str, Any], above: str = "") -> dict[str, bool | float | str]:
    """Return the fields of a spec as TensorBoard takes them: numbers, booleans and texts. None is left out."""
    found: dict[str, bool | float | str] = {}
    for name, value in spec.items():
        if isinstance(value, Mapping):
            found |= hyperparameters(cast("Mapping[str, Any]", value), f"{above}{name}.")
        elif isinstance(value, bool | int | float | str):
            found[above + name] = value
        elif isinstance(value, Sequence):
            found[above + name] = typed_list(cast("Sequence[object]", value))
    return found


def png_size(png: bytes) -> tuple[int, int]:
    """Return width and height from the first chunk of a PNG file."""
    return struct.unpack(">II", png[16:24])
