"""What to cite for what was used, and how BibTeX has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.names import (
    DatasetName,
    EstimatorName,
    EvalMethod,
    LikelihoodName,
    ModelName,
    ObjectiveName,
    Task,
)
from dregcli.report.bibliography import WORKS
from dregcli.report.works import Work

CITED: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "program": {"dreg": ("dreg",)},
    "objective": {
        ObjectiveName.ELBO: ("kingma2014vae",),
        ObjectiveName.IWAE: ("burda2016iwae",),
        ObjectiveName.RWS: ("bornschein2015rws",),
        ObjectiveName.JVI: ("nowozin2018jvi",),
        ObjectiveName.VR_IWAE: ("daudel2023vriwae", "li2016renyi"),
        ObjectiveName.MIWAE: ("rainforth2018tighter",),
        ObjectiveName.PIWAE: ("rainforth2018tighter",),
        ObjectiveName.CIWAE: ("rainforth2018tighter",),
    },
    "estimator": {
        EstimatorName.REPARAM: ("kingma2014vae", "burda2016iwae"),
        EstimatorName.STL: ("roeder2017stl",),
        EstimatorName.DREG: ("tucker2019dreg",),
        EstimatorName.DREG_NORM: ("tucker2019dreg",),
        EstimatorName.DREG_ALPHA: ("tucker2019dreg",),
        EstimatorName.DREG_CV: ("tucker2019dreg",),
        EstimatorName.REINFORCE: ("williams1992reinforce", "mnih2016vimco"),
        EstimatorName.VIMCO: ("mnih2016vimco",),
        EstimatorName.VIMCO_STAR: ("lievin2020ovis",),
        EstimatorName.OVIS: ("lievin2020ovis",),
    },
    "data set": {
        DatasetName.DIGITS: ("alpaydin1998digits", "pedregosa2011sklearn"),
        DatasetName.MNIST: ("lecun1998mnist",),
        DatasetName.BINARIZED_MNIST: ("lecun1998mnist", "salakhutdinov2008quantitative", "larochelle2011nade"),
        DatasetName.FASHION_MNIST: ("xiao2017fashion",),
        DatasetName.OMNIGLOT: ("lake2015omniglot", "burda2016iwae"),
        DatasetName.OMNIGLOT_LAKE: ("lake2015omniglot",),
        DatasetName.CALTECH101_SILHOUETTES: ("marlin2010silhouettes",),
        DatasetName.LINEAR_GAUSSIAN: ("tipping1999ppca",),
    },
    "model": {
        ModelName.VAE: ("kingma2014vae", "rezende2014stochastic"),
        ModelName.LINEAR_GAUSSIAN: ("tipping1999ppca",),
    },
    "task": {
        Task.GENERATIVE: (),
        Task.STRUCTURED: ("tucker2019dreg",),
        Task.STRUCTURED_REFERENCE: ("tucker2019dreg",),
    },
    "likelihood": {
        LikelihoodName.BERNOULLI: ("kingma2014vae",),
        LikelihoodName.GAUSSIAN: ("kingma2014vae",),
        LikelihoodName.DISCRETISED_LOGISTIC: ("kingma2016iaf", "salimans2017pixelcnn"),
    },
    "optimiser": {"adam": ("kingma2015adam",)},
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
"""Keys of works by kind of use and name. Within a kind, since one name may be that of a model and of a data set."""


@dataclass(frozen=True)
class Citation:
    """A work, and what of some runs it is cited for, such as ``objective iwae (5 runs)``."""

    key: str
    work: Work
    uses: tuple[str, ...]

    def bibtex(self) -> str:
        """The entry, below a comment that says what it is for."""
        width = max(map(len, self.work.fields))
        fields = [f"  {name.ljust(width)} = {{{value}}}," for name, value in self.work.fields.items()]
        return "\n".join([f"% {'; '.join(self.uses)}", f"@{self.work.kind}{{{self.key},", *fields, "}"])


def citations(uses: Mapping[tuple[str, str], int]) -> list[Citation]:
    """The works to cite, each once, by key.

    Args:
        uses: of how many runs each use is, by kind and name; one that nobody published is left out.
    """
    found: dict[str, list[str]] = {}
    for (kind, name), count in uses.items():
        for key in CITED[kind].get(name, ()):
            many = "" if kind == "program" else f" ({count} run{'s' if count != 1 else ''})"
            found.setdefault(key, []).append(f"{kind} {name}{many}")
    return [Citation(key, WORKS[key], tuple(told)) for key, told in sorted(found.items())]


def bibtex(found: Sequence[Citation]) -> str:
    """A file of them."""
    return "\n\n".join(each.bibtex() for each in found) + "\n"
