"""Warnings that a reader of a report needs before relying on it."""

from collections.abc import Sequence, Set
from typing import Final

import numpy as np

from dregcli.commands import command
from dregcli.names import RunStatus, Split
from dregcli.report.aggregate import mapping, number
from dregcli.report.comparison import headline
from dregcli.report.groups import Group, RunRow
from dregcli.report.sections import ReportSection
from dregcli.wording import some_of

FEW_SEEDS: Final = 3
"""Seeds from which on a report does not warn. With fewer, a standard error is often wrong by half or more."""

_UNRELIABLE: Final = 0.01
"""Share of examples with k-hat above 0.7 from which on a report warns."""

_SHARE: Final = "share_above_0.7"


def warnings_of(sections: Sequence[ReportSection]) -> list[str]:
    """Return the warnings as sentences, the most serious first. A warning for several groups appears once."""
    groups = [group for section in sections for group in section.groups]
    found = [
        f"{named(sections, {group.key})}: these runs are not in its means: {missing}."
        for group in groups
        if (missing := _missing(group))
    ]
    found += [warning for group in groups for row in group.rows for warning in _not_finite(row)]
    found += _few_seeds(sections)
    if repeated := [row.label for group in groups for row in group.repeated()]:
        found.append(
            "of several runs with one seed only one counts, the newest of those with the most bounds; these do not "
            f"count: {some_of(repeated)}."
        )
    if others := {group.key for group in groups if _has_other_checkpoints(group)}:
        found.append(
            f"{named(sections, others)}: evaluations at other steps than those of the final bounds are shown, but "
            "not compared."
        )
    shares = {group.key: max((_unreliable(row) for row in group.seeds()), default=0.0) for group in groups}
    if worst := max(shares.values(), default=0.0):
        names = named(sections, {key for key, share in shares.items() if share})
        found.append(
            f"{names}: k-hat is above 0.7 for up to {100.0 * worst:.3g} % of the examples: for these, evaluated "
            "bounds are too low, and their standard errors too small."
        )
    for section in sections:
        found += [f"{section.title}: {text}" if len(sections) > 1 else text for text in _not_compared(section)]
    return found


def named(sections: Sequence[ReportSection], keys: Set[str]) -> str:
    """List groups by their labels; if a report has several sections, with the sections' titles in brackets."""
    by_section = [
        (section.title, [section.labels[group.key] for group in section.groups if group.key in keys])
        for section in sections
    ]
    return "; ".join(
        some_of(labels) + (f" ({title})" if len(sections) > 1 else "") for title, labels in by_section if labels
    )


def _not_compared(section: ReportSection) -> list[str]:
    """Return the warnings about groups of a section that are not compared, and what to do about it."""
    if section.comparisons:
        first = section.comparisons[0]
        return [
            f"not compared by {first.measure.text}: {section.labels[key]}: {why}." for key, why in first.apart.items()
        ]
    if sum(bool(group.seeds()) for group in section.groups) > 1:
        return [
            "nothing is compared: no two groups have bounds with the same K and evaluation seed; "
            f"evaluate them with the same settings: {command('eval', 'NAME', 'NAME', '--k', 'K')}"
        ]
    return []


def _missing(group: Group) -> str:
    by_status: dict[RunStatus, list[str]] = {}
    for row in group.not_counted():
        by_status.setdefault(row.status, []).append(row.label)
    return "; ".join(f"{status.value} {some_of(names)}" for status, names in by_status.items())


def _has_other_checkpoints(group: Group) -> bool:
    return any(len(row.evals_at_end) < len(row.evals) for row in group.seeds())


def _few_seeds(sections: Sequence[ReportSection]) -> list[str]:
    by_number: dict[int, set[str]] = {}
    for section in sections:
        values = headline(section.groups, section.comparisons)[1]
        for group in section.groups:
            a = values.get(group.key)
            by_number.setdefault(a.n if a else len(group.seeds()), set()).add(group.key)
    found: list[str] = []
    if 1 in by_number:
        names = named(sections, by_number[1])
        found.append(f"{names}: one seed only, so there is no standard error over seeds; train more: --seeds 0-4.")
    for few in range(2, FEW_SEEDS):
        if few in by_number:
            names = named(sections, by_number[few])
            found.append(
                f"{names}: {few} seeds only, so the standard error is itself uncertain; train more: --seeds 0-4."
            )
    return found


def _not_finite(row: RunRow) -> list[str]:
    found: list[str] = []
    for split in Split:
        bound = row.metrics.get(split.value, {}).get("bound")
        if bound is not None and (wrong := int((~np.isfinite(bound)).sum())):
            rows = f"{wrong:,} of {len(bound):,} rows"
            found.append(f"{row.label}: the bound is not finite in {rows} of {split} metrics; they are left out.")
    if any(number(attrs["value"]) is None for attrs in row.evals):
        found.append(f"{row.label}: an evaluated bound is not a finite number; it is left out.")
    return found


def _unreliable(row: RunRow) -> float:
    """Return the largest share of examples with a bad k-hat at the end of training; 0 if it needs no warning."""
    khats = [mapping(attrs.get("khat")) for attrs in row.evals_at_end]
    shares = [share for khat in khats if khat and (share := number(khat.get(_SHARE))) is not None]
    return max((share for share in shares if share >= _UNRELIABLE), default=0.0)
