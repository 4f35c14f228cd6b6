"""Short names of the groups of a section, and the legend that explains them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from string import ascii_uppercase
from typing import Final, NamedTuple

from dregcli.parts import kept_apart, shown_word
from dregcli.report.groups import Group
from dregcli.report.settings import MEANINGS, differing_names, shown_name, shown_setting, shown_value

LONGEST: Final = 30
"""Most characters of an automatic label."""

_CUT: Final = "…"

_SECONDARY: Final = ("device", "backward", "screen_inflation", "screen_precision")
"""Settings of the computation. ``auto`` chooses them by other settings, such as K, so that they often differ together
with these. A label names them only where nothing else differs."""


class Rename(NamedTuple):
    """A name that the user gives to groups.

    Attributes:
        pattern: a pattern as in a shell (``*``, ``?``, ``[ab]``), for ``renamed``.
        name: the label of the groups that fit it.
    """

    pattern: str
    name: str


@dataclass(frozen=True)
class Labels:
    """The labels of a section's groups.

    Attributes:
        by_key: label of each group, by its key; all are different.
        legend: sentences that explain the labels; empty if every label is objective/estimator.
    """

    by_key: Mapping[str, str]
    legend: tuple[str, ...]


def labels(groups: Sequence[Group], renames: Sequence[Rename] = ()) -> Labels:
    """Return short names of groups: objective/estimator, and the other settings in which the groups differ.

    If a label has more than ``LONGEST`` characters, or two are equal, the labels are shortened by these rules, one
    after the other, until all fit; the legend explains the rules that were used.

    1. The most common value of a setting is left out.
    2. Names of settings have one letter.
    3. The name of a parameter is left out, if it is the only parameter of its word.
    4. The objective is left out, if all groups share it.
    5. A letter, which the legend explains, takes the place of the settings.

    Args:
        groups: the groups of a section.
        renames: names that the user gave; see ``renamed``.
    """
    automatic = _automatic(groups)
    return renamed(groups, automatic, renames) if renames else automatic


def _automatic(groups: Sequence[Group]) -> Labels:
    parts = _Parts.of(groups)
    for rules in range(5):
        found = parts.shortened(rules)
        if (
            len(set(found.by_key.values())) == len(groups)
            and max(map(len, found.by_key.values()), default=0) <= LONGEST
        ):
            return found
    return parts.with_letters()


@dataclass(frozen=True)
class _Parts:
    """The parts of which labels are made, by the groups' keys.

    Attributes:
        objectives: short words of the objectives.
        estimators: short words of the estimators.
        settings: values of the other settings in which the groups differ, as texts by name; a setting that a group
            does not have (None) is missing.
        left_out: names of the settings that differ and that no label shows.
        is_rounded: whether parameters are shown with fewer digits than they have.
    """

    objectives: Mapping[str, str]
    estimators: Mapping[str, str]
    settings: Mapping[str, Mapping[str, str]]
    left_out: tuple[str, ...]
    is_rounded: bool

    @classmethod
    def of(cls, groups: Sequence[Group]) -> "_Parts":
        words = {
            kind: {group.key: str(group.experiment[kind]) for group in groups} for kind in ("objective", "estimator")
        }
        shown = {kind: kept_apart(of_kind) for kind, of_kind in words.items()}
        is_rounded = any(
            shown_word(word, digits=None) != shown[kind][key]
            for kind, of_kind in words.items()
            for key, word in of_kind.items()
        )
        names, left_out = named_settings(groups)
        settings = {
            group.key: {name: text for name in names if (text := shown_value(name, group.experiment.get(name)))}
            for group in groups
        }
        return cls(shown["objective"], shown["estimator"], settings, tuple(left_out), is_rounded)

    def pair(self, key: str) -> str:
        return f"{self.objectives[key]}/{self.estimators[key]}"

    def shortened(self, rules: int) -> Labels:
        """Return the labels by the first so many rules of ``labels``, with their legend."""
        legend: list[str] = []
        usual = _usual(list(self.settings.values())) if rules >= 1 else {}
        is_short = rules >= 2
        if usual:
            values = ", ".join(shown_setting(name, value, is_short=is_short) for name, value in usual.items())
            legend.append(f"A setting that a label does not name has its most common value: {values}.")
        objectives, estimators = self.objectives, self.estimators
        if rules >= 3:
            only = {word: _only_parameter(word) for word in (*objectives.values(), *estimators.values())}
            objectives = {key: only[word][0] for key, word in objectives.items()}
            estimators = {key: only[word][0] for key, word in estimators.items()}
            named = sorted({f"{name} in {word.partition(':')[0]}" for word, (_, name) in only.items() if name})
            legend += [f"What follows a colon is the value of {', '.join(named)}."] if named else []
        one = len(set(objectives.values())) == 1
        if rules >= 4 and one:
            legend.append(f"The objective of all groups is {next(iter(objectives.values()))}.")
            heads = estimators
        else:
            heads = {key: f"{objectives[key]}/{estimators[key]}" for key in objectives}
        found = {
            key: " ".join(
                [
                    heads[key],
                    *(
                        shown_setting(name, value, is_short=is_short)
                        for name, value in of.items()
                        if usual.get(name) != value
                    ),
                ]
            )
            for key, of in self.settings.items()
        }
        return Labels(found, (*self._explained(is_short=is_short), *legend))

    def with_letters(self) -> Labels:
        """Return labels that always fit: a letter takes the place of what a label cannot show."""
        shortest, explained = (short := self.shortened(3)).by_key, short.legend
        many = Counter(shortest.values())
        found: dict[str, str] = {}
        legend: list[str] = []
        letters = ("".join(each) for size in range(1, 9) for each in product(ascii_uppercase, repeat=size))
        for key, label in shortest.items():
            if len(label) <= LONGEST and many[label] == 1:
                found[key] = label
                continue
            letter = next(letters)
            head = self.pair(key)
            room = LONGEST - len(letter) - 1
            found[key] = f"{head if len(head) <= room else head[: room - 1] + _CUT} {letter}"
            settings = (shown_setting(name, value, is_short=True) for name, value in self.settings[key].items())
            legend.append(f"{letter}: {', '.join([head, *settings])}.")
        # A label of one letter's group cannot equal another: it ends with a letter of its own.
        return Labels(found, (*explained, *legend))

    def _explained(self, *, is_short: bool) -> list[str]:
        used = {name: None for of in self.settings.values() for name in of}
        meanings = [MEANINGS[name].format(shown_name(name, is_short=is_short)) for name in used if name in MEANINGS]
        found = [f"In labels, {'; '.join(meanings)}."] if meanings else []
        if self.is_rounded:
            found.append("Parameters in labels are rounded.")
        if self.left_out:
            names = ", ".join(name.replace("_", "-") for name in self.left_out)
            found.append(f"The groups also differ in {names}, which no label shows.")
        return found


def named_settings(groups: Sequence[Group]) -> tuple[list[str], list[str]]:
    """Return the settings that tell groups apart, without objective and estimator; and those that differ besides.

    The latter follow from other settings, such as the split from the data set.
    """
    differing = [name for name in differing_names(groups) if name not in ("objective", "estimator")]
    if "dataset" in differing:  # other data sets always differ in these as well
        differing = [name for name in differing if name not in ("data_checksum", "split_convention")]
    names = [name for name in differing if name not in _SECONDARY]
    left_out: list[str] = []

    def kinds(of: Iterable[str]) -> int:
        every = ("objective", "estimator", *of)
        return len({tuple(shown_value(name, group.experiment.get(name)) for name in every) for group in groups})

    for name in differing:
        if name in _SECONDARY:
            (names if kinds([*names, name]) > kinds(names) else left_out).append(name)
    return names, left_out


def _usual(settings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the most common text of each setting that all groups have; of equally common ones the first."""
    names = [name for name in settings[0] if all(name in of for of in settings)] if settings else []
    return {name: Counter(of[name] for of in settings).most_common(1)[0][0] for name in names}


def _only_parameter(word: str) -> tuple[str, str]:
    """Return a word without the name of its only parameter, and that name; no name if the word stays as it is."""
    name, _, text = word.partition(":")
    parameter, equals, value = text.partition("=")
    return (f"{name}:{value}", parameter) if equals and "," not in text else (word, "")


def renamed(groups: Sequence[Group], automatic: Labels, renames: Sequence[Rename]) -> Labels:
    """Give groups the names that the user chose.

    The first pattern counts that fits a group's automatic label, its objective/estimator, or one of its runs by its
    name or as ``NAME/v001``. If several groups get one name, the settings in which they differ follow it.

    Args:
        groups: the groups of a section.
        automatic: their automatic labels.
        renames: the names, the most important first.
    """
    parts = _Parts.of(groups)
    chosen = {
        group.key: name
        for group in groups
        if (name := _chosen(group, [automatic.by_key[group.key], parts.pair(group.key)], renames)) is not None
    }
    found = {**automatic.by_key, **chosen}
    legend = list(automatic.legend) if len(chosen) < len(groups) else []
    many = Counter(found.values())
    for name in dict.fromkeys(chosen.values()):
        members = [group for group in groups if chosen.get(group.key) == name]
        if many[name] > 1:
            among = _automatic(members)
            of_members = _Parts.of(members)
            pairs = {of_members.pair(group.key) for group in members}
            for group in members:
                whole = among.by_key[group.key]
                (head,) = pairs if len(pairs) == 1 else ("",)
                rest = whole.removeprefix(head).strip() if head else whole
                found[group.key] = f"{name} {rest}".strip()
            legend += [each for each in among.legend if each not in legend]
    return Labels(_numbered(found), tuple(legend))


def _chosen(group: Group, texts: Sequence[str], renames: Sequence[Rename]) -> str | None:
    candidates = [*texts, *(text for row in group.rows for text in (row.name, row.key))]
    fitting = (each.name for each in renames if any(fnmatchcase(text, each.pattern) for text in candidates))
    return next(fitting, None)


def _numbered(found: Mapping[str, str]) -> dict[str, str]:
    """Make labels different that are still equal: a chosen name can equal another group's automatic label."""
    taken: dict[str, str] = {}
    for key, label in found.items():
        number, free = 1, label
        while free in taken.values():
            number += 1
            free = f"{label} ({number})"
        taken[key] = free
    return taken
