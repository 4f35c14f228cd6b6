"""An experiment to be shown, which needs no torch if dreg brings the experiment along."""

from dregcli.specs.papers.named import paper_names, paper_path
from dregcli.specs.papers.read import PaperFile, read_paper

NO_NUMBERS = "The experiment has no published number to compare with."


def shown_paper(word: str) -> PaperFile:
    """Read an experiment by its name, or a user's own file.

    The options of a user's file are checked as for a run; those of dreg's own files are checked by the tests.

    Raises:
        UsageError, SpecError: see ``dregcli.app.papers.asking.find_paper``.
    """
    if word in paper_names():
        return read_paper(paper_path(word))
    from dregcli.app.papers.asking import find_paper

    return find_paper(word)
