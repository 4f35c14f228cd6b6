"""A page as plain values. All texts are complete before the template gets them."""

from dataclasses import dataclass

from dregcli.report.tables import Table


@dataclass(frozen=True)
class Image:
    """A figure inside the page.

    Attributes:
        title: title of the figure.
        alt: alternative text, which describes the figure.
        width: width in CSS pixels.
        height: height in CSS pixels.
        light: content for a light page, as a ``data:`` address.
        dark: content for a dark page, as a ``data:`` address.
        caption: sentences that explain the figure.
    """

    title: str
    alt: str
    width: int
    height: int
    light: str
    dark: str
    caption: str = ""


@dataclass(frozen=True)
class Command:
    """A command to type.

    Attributes:
        what: what the command does.
        line: the line for a shell.
    """

    what: str
    line: str


@dataclass(frozen=True)
class CommandList:
    """Commands of several runs.

    Attributes:
        title: title of the list.
        of: name and commands of each run.
        folded: whether the list is folded at first.
    """

    title: str
    of: tuple[tuple[str, tuple[Command, ...]], ...]
    folded: bool


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: address of the section in the page.
        title: heading of the section.
        lead: paragraphs at the beginning.
        tables: tables below the paragraphs.
        folded: folded tables below those.
        images: figures below the tables.
        commands: lists of commands below the figures.
        sections: smaller sections at the end.
    """

    anchor: str
    title: str
    lead: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()
    images: tuple[Image, ...] = ()
    commands: tuple[CommandList, ...] = ()
    sections: tuple["Section", ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the section has no content."""
        return not (self.lead or self.tables or self.folded or self.images or self.commands or self.sections)


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: heading of the page.
        lead: one line that says what the page is about.
        warnings: warnings for the reader, the most serious first.
        sections: sections, in the order of the page.
        made: when the page was made, and by which program.
        command: command that made the page.
    """

    title: str
    lead: str
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    made: str
    command: str
