"""A page as plain values: all wording is done before a template sees it."""

from dataclasses import dataclass

from dregcli.report.tables import Table


@dataclass(frozen=True)
class Image:
    """A figure inside the page.

    Attributes:
        title: what it is of.
        alt: what is to be seen.
        width: in CSS pixels.
        height: in CSS pixels.
        source: a ``data:`` address.
    """

    title: str
    alt: str
    width: int
    height: int
    source: str


@dataclass(frozen=True)
class Command:
    """Something to type.

    Attributes:
        what: what it does.
        line: for a shell.
    """

    what: str
    line: str


@dataclass(frozen=True)
class CommandList:
    """Commands of several runs.

    Attributes:
        title: of which.
        of: run by run, its name and its commands.
        folded: whether they are shown when asked for only.
    """

    title: str
    of: tuple[tuple[str, tuple[Command, ...]], ...]
    folded: bool


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: its address in the page.
        title: its heading.
        lead: paragraphs that come first.
        tables: then these,
        folded: these, shown when asked for,
        images: these,
        commands: and these.
    """

    anchor: str
    title: str
    lead: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()
    images: tuple[Image, ...] = ()
    commands: tuple[CommandList, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to be told."""
        return not (self.lead or self.tables or self.folded or self.images or self.commands)


@dataclass(frozen=True)
class Page:
    """All of it.

    Attributes:
        title: the heading.
        lead: what it is about, in a line.
        warnings: what a reader must know, the gravest first.
        sections: in their order.
        made: when and by what.
        command: what made it.
    """

    title: str
    lead: str
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    made: str
    command: str
