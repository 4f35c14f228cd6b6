"""Experiments on the Gaussian toy, by the measurement of ``dreg variance --toy``: one for each seed, kept as a file."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from dregcli import __version__
from dregcli.app.common.listener import Listener, ListenerOfMany
from dregcli.app.diagnosis.variance import measure_variance, seconds_on_toy
from dregcli.app.diagnosis.variance_request import VarianceRequest
from dregcli.app.papers.kind import Asked, Change, Expected, Made, PaperRequest, Ran, Results, Scaled, State
from dregcli.app.papers.provenance import made_by
from dregcli.app.papers.shares import fewer_seeds, whole
from dregcli.app.planning.asked_pairs import parse_asked
from dregcli.app.studies.preview import Preview
from dregcli.engine.device import threads
from dregcli.engine.diagnostics.variance import FEWEST_REPLICATES
from dregcli.engine.diagnostics.variance_result import SLOPED
from dregcli.engine.pairs import Pair
from dregcli.engine.words import parse_objective, word_of
from dregcli.errors import Fault, SpecError, StoreCorrupt
from dregcli.filesystem import LOCAL, make_folders, write_aside
from dregcli.names import Capture, Place
from dregcli.parts import shown_word
from dregcli.report.aggregate import Aggregate, aggregate
from dregcli.report.papers.outcome import Compared, Drawing, Line, Mark, Point
from dregcli.specs.papers.document import Panel, Paper, Published, ToyGradients
from dregcli.specs.papers.lines import Place as Entry
from dregcli.store.capture import capture_environment
from dregcli.wording import counted

_FOLDER: Final = "measured"
_SECONDS_IN_HOUR: Final = 3600.0


@dataclass(frozen=True)
class _Quantity:
    """A statistic of gradients: its name for an axis, and whether the axis is logarithmic."""

    name: str
    is_log: bool = True


QUANTITIES: Final[Mapping[str, _Quantity]] = {
    "variance": _Quantity("variance of the {}'s gradient"),
    "snr": _Quantity("SNR of the {}'s gradient"),
    "dsnr": _Quantity("directional SNR of the {}'s gradient"),
    "squared_bias": _Quantity("squared bias of the {}'s gradient"),
    "cosine": _Quantity("cosine of the {}'s gradient to its own direction", is_log=False),
}
"""By the word for ``y`` of a panel; the names are those in the JSON of ``dreg variance``."""

_AT: Final = ("pair", "objective", "k")
"""Settings that a published number of the toy may name."""


@dataclass(frozen=True)
class _Measured:
    """What one seed's measurement gave, as plain values, and the environment that it was made in."""

    report: Mapping[str, Any]
    environment: Mapping[str, Any]


class ToyExperiments:
    """See ``dregcli.app.papers.kind.Kind``."""

    def faults(self, paper: Paper) -> list[tuple[Entry, str]]:
        """Find pairs, quantities and published numbers that there are not."""
        experiment = _of(paper)
        found: list[tuple[Entry, str]] = []
        pairs: list[Pair] = []
        for number, word in enumerate(experiment.pairs):
            try:
                pairs.append(_pair(word))
            except SpecError as error:
                found += [(("experiment", "pairs", number), fault.message) for fault in error.faults]
        if experiment.replicates < FEWEST_REPLICATES:
            why = f"must be at least {FEWEST_REPLICATES}, got {experiment.replicates}."
            found.append((("experiment", "replicates"), why))
        for number, panel in enumerate(paper.figure):
            found += [(("figure", number, "y"), why) for why in _unknown(panel.y)]
            if panel.x != "k":
                found.append((("figure", number, "x"), f"must be k, got '{panel.x}'."))
        for number, each in enumerate(paper.published):
            found += [(("published", number, name), why) for name, why in _published_faults(each, experiment, pairs)]
        return found

    def scaled(self, paper: Paper, share: float) -> Scaled:
        """Take fewer replicates and seeds, and leave out the largest K."""
        experiment = _of(paper)
        most = math.sqrt(share) * experiment.k[-1]
        ks = [k for i, k in enumerate(experiment.k) if i < 2 or k <= most]
        seeds = fewer_seeds(experiment.seed_list, share, least=paper.scale.least_seeds)
        replicates = min(experiment.replicates, whole(experiment.replicates, share, least=FEWEST_REPLICATES))
        texts = {
            "replicates": (f"{experiment.replicates:,}", f"{replicates:,}"),
            "seeds": (f"{len(experiment.seed_list)}", f"{len(seeds)}"),
            "K": (_listed(experiment.k), _listed(ks)),
        }
        changes = tuple(Change(name, *each) for name, each in texts.items() if each[0] != each[1])
        fewer = {"k": ks, "replicates": replicates, "seeds": ",".join(map(str, seeds))}
        return Scaled(paper.model_copy(update={"experiment": experiment.model_copy(update=fewer)}), changes)

    def request_faults(self, request: PaperRequest) -> list[Fault]:
        """Refuse what is about runs: there are none."""
        given = {
            "jobs": request.jobs is not None,
            "on": request.on is not Place.LOCAL,
            "at-once": request.at_once is not None,
            "slurm": bool(request.slurm),
            "ray-address": request.ray_address is not None,
        }
        message = f"is about runs, but '{request.word}' trains none: it measures gradients in this process. "
        return [Fault(name, f"{message}Leave --{name} out.") for name, is_given in given.items() if is_given]

    def state(self, asked: Asked) -> State:
        """Count the seeds whose measurements are in the folder of results."""
        experiment = _of(asked.paper)
        done = sum(_file(asked, seed).exists() for seed in experiment.seed_list)
        length = f"{counted(experiment.replicates, 'replicate')} at K={_listed(experiment.k)}"
        return State(done, len(experiment.seed_list), "measurement", length)

    def preview(self, asked: Asked, listener: Listener) -> Preview | None:
        """Return None: nothing is trained."""
        return None

    def expected(self, asked: Asked) -> Expected | None:
        """Measure the first draws at each K, and throw them away."""
        missing = [seed for seed in _of(asked.paper).seed_list if not _file(asked, seed).exists()]
        if not missing:
            return None
        return Expected(len(missing) * seconds_on_toy(_request(asked, missing[0])), "by the first draws at each K")

    def run(self, asked: Asked, listener: ListenerOfMany) -> Ran:
        """Measure each seed that is missing."""
        make_folders(LOCAL, asked.out / _FOLDER)
        seeds = _of(asked.paper).seed_list
        for number, seed in enumerate(seeds, start=1):
            path = _file(asked, seed)
            if path.exists():
                listener.note(f"seed {seed} ({number} of {len(seeds)}): measured before, {path}")
                continue
            listener.note(f"seed {seed} ({number} of {len(seeds)})")
            report = measure_variance(
                _request(asked, seed),
                runs_dir=asked.runs_dir,
                data_dir=asked.data_dir,
                argv=[*asked.argv],
                listener=listener,
            )
            extra = {"threads": threads(), "time_used": report.seconds}
            whole_environment = capture_environment(argv=[], extra=extra, capture=Capture.NONE)
            kept = {name: whole_environment[name] for name in ("cpu", "packages", "platform", *extra)}
            content = {"report": report.plain(), "environment": kept}
            write_aside(LOCAL, path, json.dumps(content, indent=1, allow_nan=False).encode())
        return Ran(0)

    def results(self, asked: Asked) -> Results:
        """Collect the measurements that are there."""
        seeds = _of(asked.paper).seed_list
        measured = [_read(_file(asked, seed)) for seed in seeds if _file(asked, seed).exists()]
        drawings = tuple(_drawing(panel, measured, asked.paper) for panel in asked.paper.figure)
        whole_ = asked.file.paper.published
        compared = tuple(
            _compared(asked, each, full, measured) for each, full in zip(asked.paper.published, whole_, strict=True)
        )
        short = len(seeds) - len(measured)
        missing = f"{counted(short, 'measurement')} missing" if short else ""
        return Results(drawings, compared, _made(measured, asked), missing)


def _of(paper: Paper) -> ToyGradients:
    assert isinstance(paper.experiment, ToyGradients)
    return paper.experiment


def _pair(word: str) -> Pair:
    """Return the pair that a word names.

    Raises:
        SpecError: there is no such pair.
    """
    objective, estimator = parse_asked(word, None)
    pair = Pair(objective or parse_objective("iwae"), estimator)
    if (refusal := estimator.refusal(pair.objective)) is not None:
        raise SpecError([Fault("pairs", f"'{word}': {refusal}")])
    return pair


def _unknown(y: str) -> list[str]:
    return [] if y in QUANTITIES else [f"must be one of {', '.join(QUANTITIES)}, got '{y}'."]


def _published_faults(each: Published, experiment: ToyGradients, pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    found = [("y", why) for why in _unknown(each.y)]
    if others := [name for name in each.at if name not in _AT]:
        found.append(("at", f"{', '.join(others)}: a number of the toy is at a pair or an objective, and at a k."))
    if each.of == "slope":
        if each.y not in SLOPED:
            found.append(("of", f"a slope is one of {', '.join(SLOPED)}, got {each.y}."))
    elif each.at.get("k") not in experiment.k:
        found.append(("at", f"k must be one of {_listed(experiment.k)}, got {each.at.get('k')!r}."))
    try:
        key = _key(each)
    except SpecError as error:
        return [*found, *(("at", fault.message) for fault in error.faults)]
    if key not in {_of_pair(pair, each.network) for pair in pairs}:
        found.append(("at", "no pair of the experiment is meant."))
    return found


def _key(published: Published) -> tuple[str, str | None]:
    """Return the words of objective and estimator that a published number names; the decoder has no estimator.

    Raises:
        SpecError: there is no such pair or objective.
    """
    if "pair" in published.at:
        return _of_pair(_pair(str(published.at["pair"])), published.network)
    return word_of(parse_objective(str(published.at.get("objective", "iwae")))), None


def _of_pair(pair: Pair, network: str) -> tuple[str, str | None]:
    return word_of(pair.objective), word_of(pair.estimator) if network == "encoder" else None


def _request(asked: Asked, seed: int) -> VarianceRequest:
    experiment = _of(asked.paper)
    return VarianceRequest(
        toy=True,
        k=",".join(map(str, experiment.k)),
        estimators=tuple(experiment.pairs),
        replicates=experiment.replicates,
        seed=seed,
        **asked.request.settings,
    )


def _file(asked: Asked, seed: int) -> Path:
    """Return the file of one seed's measurement; its name has a hash of everything that its numbers depend on."""
    request = _request(asked, seed)
    pairs = [_pair(word).word for word in request.estimators]
    numbers = [pairs, list(request.ks), request.count, request.reference, request.reference_count, seed, __version__]
    digest = hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:12]
    return asked.out / _FOLDER / f"seed{seed}-{digest}.json"


def _read(path: Path) -> _Measured:
    """Read one measurement.

    Raises:
        StoreCorrupt: the file was altered.
    """
    try:
        content = json.loads(path.read_bytes())
        return _Measured(content["report"], content["environment"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = "The file of a measurement cannot be read."
        raise StoreCorrupt(what, where=str(path), hint="remove this file, and run the same command again") from error


def _rows(measured: _Measured, network: str) -> list[Mapping[str, Any]]:
    return [each for each in measured.report["results"] if each["network"] == network]


def _whose(row: Mapping[str, Any]) -> tuple[str, str | None]:
    return row["objective"], row["estimator"]


def _name(key: tuple[str, str | None]) -> str:
    return "/".join(shown_word(word) for word in key if word is not None)


def _value(measured: Sequence[_Measured], network: str, key: tuple[str, str | None], k: int, y: str) -> Aggregate | None:
    """Return the mean over seeds; of a single seed, the value with the standard error over its replicates."""
    found = [
        row[y] for each in measured for row in _rows(each, network) if (_whose(row), row["k"]) == (key, k)
    ]
    return _mean([(each["value"], each["stderr"]) for each in found])


def _slope(measured: Sequence[_Measured], network: str, key: tuple[str, str | None], y: str) -> Aggregate | None:
    every = [
        each
        for of_seed in measured
        for each in of_seed.report["slopes"]
        if (each["network"], each["statistic"], _whose(each)) == (network, y, key)
    ]
    return _mean([(each["value"], each["stderr"]) for each in every])


def _mean(found: Sequence[tuple[float | None, float | None]]) -> Aggregate | None:
    known = [(value, stderr) for value, stderr in found if value is not None]
    if len(known) == 1:
        ((value, stderr),) = known
        return Aggregate(value, stderr, None, 1)
    return aggregate([value for value, _ in known], None)


def _drawing(panel: Panel, measured: Sequence[_Measured], paper: Paper) -> Drawing:
    quantity, network = QUANTITIES[panel.y], panel.network
    keys = dict.fromkeys(_whose(row) for each in measured for row in _rows(each, network))
    lines: list[Line] = []
    for key in keys:
        ks = [k for k in _of(paper).k]
        values = [(k, _value(measured, network, key, k, panel.y)) for k in ks]
        points = tuple(Point(float(k), value) for k, value in values if value is not None)
        if any(each.y.mean != 0.0 for each in points):  # what has no bias by definition is no line of a logarithm
            lines.append(Line(_name(key), points))
    marks = [
        Mark(_name(_key(each)), float(cast("int", each.at["k"])), each.value)
        for each in paper.published
        if (each.y, each.network, each.of) == (panel.y, network, "value")
    ]
    name = quantity.name.format(network)
    floor = float(measured[0].report["floor"]) if measured and panel.y == "snr" else None
    return Drawing(
        panel.title or name,
        "K, samples",
        name,
        along=False,
        is_log=quantity.is_log,
        lines=tuple(lines),
        marks=tuple(marks),
        floor=floor,
    )


def _compared(asked: Asked, each: Published, full: Published, measured: Sequence[_Measured]) -> Compared:
    key = _key(each)
    if each.of == "slope":
        ours, at = _slope(measured, each.network, key, each.y), ""
    else:
        k = cast("int", each.at["k"])
        ours, at = _value(measured, each.network, key, k, each.y), f" K={k}"
    plain = full.model_dump(mode="json", include={"value", "error", "read", "source", "what", "at", "of"})
    name = QUANTITIES[each.y].name.format(each.network)
    of = f"slope of the {name} against K" if each.of == "slope" else name
    shorter = "; ".join(f"{change.name} {change.after} of {change.before}" for change in asked.scaled.changes)
    return Compared(f"{_name(key)}{at}", of, plain, ours, shorter)


def _made(measured: Sequence[_Measured], asked: Asked) -> Made | None:
    if not measured:
        return None
    hours = sum(float(each.environment["time_used"]) for each in measured) / _SECONDS_IN_HOUR
    length = f"{counted(len(measured), 'seed')}, {counted(_of(asked.paper).replicates, 'replicate')} at each K"
    return made_by([each.environment for each in measured], hours, length)


def _listed(ks: Sequence[int]) -> str:
    return ",".join(map(str, ks))
