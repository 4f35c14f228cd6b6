"""Experiments on the Gaussian toy, by the measurement of ``dreg variance --toy``; each seed's is kept as a file."""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dregcli import __version__
from dregcli.app.common.listener import Listener, ListenerOfMany
from dregcli.app.diagnosis.variance import measure_variance, seconds_on_toy
from dregcli.app.diagnosis.variance_request import VarianceRequest
from dregcli.app.papers.kind import Asked, Change, Expected, Made, PaperRequest, Ran, Results, Scaled, State
from dregcli.app.papers.provenance import made_by
from dregcli.app.papers.scaling import SEEDS
from dregcli.app.papers.shares import fewer_seeds, whole
from dregcli.app.papers.toy_file import file_faults, ks_in_words, pair_of, toy_of
from dregcli.app.papers.toy_lines import Measured, compared, drawing_of
from dregcli.app.studies.preview import Preview
from dregcli.engine.device import threads
from dregcli.engine.diagnostics.variance import FEWEST_REPLICATES
from dregcli.errors import Fault, StoreCorrupt
from dregcli.filesystem import LOCAL, make_folders, write_aside
from dregcli.names import Capture, Place
from dregcli.specs.papers.document import Paper
from dregcli.specs.papers.lines import Place as Entry
from dregcli.store.capture import capture_environment
from dregcli.wording import counted

_FOLDER: Final = "measured"
_SECONDS_IN_HOUR: Final = 3600.0


class ToyExperiments:
    """See ``dregcli.app.papers.kind.Kind``."""

    def faults(self, paper: Paper) -> list[tuple[Entry, str]]:
        """Find pairs, quantities and published numbers that there are not."""
        return file_faults(paper)

    def scaled(self, paper: Paper, share: float) -> Scaled:
        """Take fewer replicates and seeds, and leave out the largest K."""
        experiment = toy_of(paper)
        most = math.sqrt(share) * experiment.k[-1]
        ks = [k for i, k in enumerate(experiment.k) if i < 2 or k <= most]
        seeds = fewer_seeds(experiment.seed_list, share, least=paper.scale.least_seeds)
        replicates = min(experiment.replicates, whole(experiment.replicates, share, least=FEWEST_REPLICATES))
        texts = {
            "replicates": (f"{experiment.replicates:,}", f"{replicates:,}"),
            SEEDS: (f"{len(experiment.seed_list)}", f"{len(seeds)}"),
            "K": (ks_in_words(experiment.k), ks_in_words(ks)),
        }
        changes = tuple(Change(name, *each, is_main=True) for name, each in texts.items() if each[0] != each[1])
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
        experiment = toy_of(asked.paper)
        done = sum(_file(asked, seed).exists() for seed in experiment.seed_list)
        length = f"{counted(experiment.replicates, 'replicate')} at K={ks_in_words(experiment.k)}"
        return State(done, len(experiment.seed_list), "measurement", length)

    def preview(self, asked: Asked, listener: Listener) -> Preview | None:
        """Return None: nothing is trained."""
        return None

    def expected(self, asked: Asked) -> Expected | None:
        """Measure the first draws at each K, and throw them away."""
        missing = [seed for seed in toy_of(asked.paper).seed_list if not _file(asked, seed).exists()]
        if not missing:
            return None
        return Expected(len(missing) * seconds_on_toy(_request(asked, missing[0])), "by the first draws at each K")

    def run(self, asked: Asked, listener: ListenerOfMany) -> Ran:
        """Measure each seed that is missing."""
        make_folders(LOCAL, asked.out / _FOLDER)
        seeds = toy_of(asked.paper).seed_list
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
        seeds = toy_of(asked.paper).seed_list
        measured = [_read(_file(asked, seed)) for seed in seeds if _file(asked, seed).exists()]
        drawings = tuple(drawing_of(panel, measured, asked.paper) for panel in asked.paper.figure)
        whole_ = asked.file.paper.published
        beside = tuple(
            compared(asked, each, full, measured) for each, full in zip(asked.paper.published, whole_, strict=True)
        )
        short = len(seeds) - len(measured)
        missing = f"{counted(short, 'measurement')} missing" if short else ""
        return Results(drawings, beside, _made(measured, asked), missing)


def _request(asked: Asked, seed: int) -> VarianceRequest:
    experiment = toy_of(asked.paper)
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
    pairs = [pair_of(word).word for word in request.estimators]
    numbers = [pairs, list(request.ks), request.count, request.reference, request.reference_count, seed, __version__]
    digest = hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:12]
    return asked.out / _FOLDER / f"seed{seed}-{digest}.json"


def _read(path: Path) -> Measured:
    """Read one measurement.

    Raises:
        StoreCorrupt: the file was altered.
    """
    try:
        content = json.loads(path.read_bytes())
        return Measured(content["report"], content["environment"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = "The file of a measurement cannot be read."
        raise StoreCorrupt(what, where=str(path), hint="remove this file, and run the same command again") from error


def _made(measured: Sequence[Measured], asked: Asked) -> Made | None:
    if not measured:
        return None
    hours = sum(float(each.environment["time_used"]) for each in measured) / _SECONDS_IN_HOUR
    length = f"{counted(len(measured), 'seed')}, {counted(toy_of(asked.paper).replicates, 'replicate')} at each K"
    return made_by([each.environment for each in measured], hours, "work", length)
