"""The works to cite for what runs used, as BibTeX."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from dregcli import __version__
from dregcli.names import EvalMethod, ModelName, OptimizerName, Task
from dregcli.parts import parts

_ENTRY: Final = re.compile(r"^@(\w+)\{(\w+),\n((?:  .*\n)*)\}$", re.MULTILINE)
_FIELD: Final = re.compile(r"^  (\w+) *= \{(.*)\},$", re.MULTILINE)

_DECLARED_BY_NO_CLASS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "program": {"dreg": ("dreg",)},
    "model": {
        ModelName.VAE: ("kingma2014vae", "rezende2014stochastic"),
        ModelName.LINEAR_GAUSSIAN: ("tipping1999ppca",),
        "hierarchical": ("burda2016iwae",),
        "sbn": ("neal1992connectionist",),
    },
    "posterior": {"flow:maf": ("papamakarios2017maf",), "flow:nsf": ("durkan2019nsf",)},
    "prior gradient": {"gdreg": ("bauer2021gdreg",), "blend": ("bauer2021gdreg",)},
    "tvo schedule": {"moments": ("brekelmans2020all",)},
    "task": {
        Task.GENERATIVE: (),
        Task.STRUCTURED: ("tucker2019dreg",),
        Task.STRUCTURED_REFERENCE: ("tucker2019dreg",),
    },
    "optimiser": {
        OptimizerName.ADAM: ("kingma2015adam",),
        OptimizerName.ADAMAX: ("kingma2015adam",),
        OptimizerName.ADAMW: ("loshchilov2019adamw",),
    },
    "evaluation": {
        EvalMethod.IMPORTANCE: ("burda2016iwae",),
        EvalMethod.AIS: ("neal2001ais", "wu2017quantitative", "neal2011hmc"),
    },
    "diagnostic": {
        "k-hat": ("vehtari2024psis", "zhang2009pareto"),
        "active units": ("burda2016iwae",),
        "jackknife": ("nowozin2018jvi",),
        "gradient SNR": ("rainforth2018tighter",),
        "paired tests": ("holm1979multiple",),
    },
}
"""Keys of works by kind of use and name.

Names are grouped by kind because a model and a data set may have the same name.
"""


@dataclass(frozen=True)
class Work:
    """A published work.

    Attributes:
        kind: type of the BibTeX entry, such as ``article`` or ``inproceedings``.
        fields: BibTeX fields by name, as LaTeX, in the order in which they are printed.
    """

    kind: str
    fields: Mapping[str, str]


@cache
def works() -> Mapping[str, Work]:
    """Return the works of ``references.bib`` by key. The program's own entry also states its version."""
    text = files("dregcli.report").joinpath("references.bib").read_text(encoding="utf-8")
    found = {key: Work(kind, dict(_FIELD.findall(fields))) for kind, key, fields in _ENTRY.findall(text)}
    return found | {"dreg": Work(found["dreg"].kind, {**found["dreg"].fields, "version": __version__})}


def cited(data_sets: Mapping[str, Sequence[str]]) -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Return the keys of the works to cite, by kind of use and name.

    Args:
        data_sets: keys of works by data set of the catalogue.
    """
    return {
        **_DECLARED_BY_NO_CLASS,
        "objective": {name: part.cites for name, part in parts().objectives.items()},
        "estimator": {name: part.cites for name, part in parts().estimators.items()},
        "likelihood": parts().likelihoods,
        "data set": data_sets,
    }


@dataclass(frozen=True)
class Citation:
    """A work, and the uses in some runs for which it is cited, such as ``objective iwae (5 runs)``."""

    key: str
    work: Work
    uses: tuple[str, ...]

    def bibtex(self) -> str:
        """Return the BibTeX entry, below a comment that lists the uses."""
        width = max(map(len, self.work.fields))
        fields = [f"  {name.ljust(width)} = {{{value}}}," for name, value in self.work.fields.items()]
        return "\n".join([f"% {'; '.join(self.uses)}", f"@{self.work.kind}{{{self.key},", *fields, "}"])


def citations(uses: Mapping[tuple[str, str], int], keys: Mapping[str, Mapping[str, Sequence[str]]]) -> list[Citation]:
    """Return the works to cite, each once, sorted by key.

    Args:
        uses: number of runs with each use, by kind and name.
        keys: keys of works by kind and name; see ``cited``. A name without keys is left out.
    """
    found: dict[str, list[str]] = {}
    for (kind, name), count in uses.items():
        for key in keys[kind].get(name, ()):
            many = "" if kind == "program" else f" ({count} run{'s' if count != 1 else ''})"
            found.setdefault(key, []).append(f"{kind} {name}{many}")
    return [Citation(key, works()[key], tuple(said)) for key, said in sorted(found.items())]


def bibtex(found: Sequence[Citation]) -> str:
    """Return the content of a BibTeX file with these citations."""
    return "\n\n".join(each.bibtex() for each in found) + "\n"
