"""From a request for an experiment to the version of it that is run."""

from pathlib import Path

from dregcli.app.papers.kind import Asked, PaperRequest, Scaled
from dregcli.app.papers.kinds import kind_of
from dregcli.errors import Fault, SpecError, UsageError
from dregcli.specs.papers.named import paper_names, paper_path
from dregcli.specs.papers.read import PaperFile, read_paper

_HINT = "every option is shown by: dreg paper run --help"


def find_paper(word: str) -> PaperFile:
    """Read an experiment by its name, or a user's own file.

    Raises:
        UsageError: there is no such experiment, the file cannot be read, or it has the name of another experiment.
        SpecError: all faults of the file, each with its line.
    """
    file = read_paper(paper_path(word))
    if file.name in paper_names() and file.text != paper_path(file.name).read_text(encoding="utf-8"):
        what = f"'{file.name}' is the name of an experiment that dreg brings along, and results would be mixed up."
        raise UsageError(what, where=str(file.path), hint=f"rename your file, for example to my-{file.path.name}")
    if faults := kind_of(file.paper).faults(file.paper):
        raise file.error(faults)
    return file


def ask(request: PaperRequest, *, runs_dir: Path, data_dir: Path, argv: list[str]) -> Asked:
    """Read an experiment, and shorten it to the scale of the request.

    Args:
        request: the request.
        runs_dir: the store.
        data_dir: the data folder.
        argv: the command line, kept in runs.

    Raises:
        SpecError: all faults of the file, or of the options.
        UsageError: there is no such experiment.
    """
    file = find_paper(request.word)
    kind = kind_of(file.paper)
    faults = kind.request_faults(request)
    if not 0.0 < request.scale <= 1.0:
        faults = [Fault("scale", f"must be more than 0 and at most 1, got {request.scale:g}."), *faults]
    if faults:
        raise SpecError(faults, hint=_HINT)
    scaled = Scaled(file.paper) if request.scale == 1.0 else kind.scaled(file.paper, request.scale)
    return Asked(file, scaled, request, runs_dir, data_dir, tuple(argv))
