"""Published works as BibTeX entries, and how those of the usual venues are made."""

from collections.abc import Mapping
from typing import NamedTuple


class Work(NamedTuple):
    """One entry.

    Attributes:
        kind: ``article``, ``inproceedings`` ...
        fields: by name, as LaTeX.
    """

    kind: str
    fields: Mapping[str, str]

    @property
    def arxiv(self) -> str | None:
        """Its number there, if it has one."""
        return self.fields.get("eprint")


def work(kind: str, *, arxiv: str | None = None, **fields: str) -> Work:
    """An entry of a kind; ``arxiv`` is its number there."""
    return Work(kind, fields | ({} if arxiv is None else {"eprint": arxiv, "archiveprefix": "arXiv"}))


def iclr(year: str, *, author: str, title: str, arxiv: str | None = None) -> Work:
    """A paper of that conference."""
    venue = "International Conference on Learning Representations"
    return work("inproceedings", author=author, title=title, booktitle=venue, year=year, arxiv=arxiv)


def neurips(volume: str, year: str, *, author: str, title: str, arxiv: str) -> Work:
    """A paper of those proceedings."""
    venue = "Advances in Neural Information Processing Systems"
    return work("inproceedings", author=author, title=title, booktitle=venue, volume=volume, year=year, arxiv=arxiv)


def pmlr(
    conference: str, volume: str, year: str, pages: str, *, author: str, title: str, arxiv: str | None = None
) -> Work:
    """A paper of a conference that these proceedings have."""
    return work(
        "inproceedings",
        author=author,
        title=title,
        booktitle=f"Proceedings of the {conference}",
        series="Proceedings of Machine Learning Research",
        volume=volume,
        pages=pages,
        year=year,
        arxiv=arxiv,
    )
