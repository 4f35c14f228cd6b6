"""What the program's methods, data and diagnostics are published in: works by the key that BibTeX knows them by.

Authors, titles and pages as their publishers give them; arXiv numbers are those of the engine's references. The order
of fields is that in which they are printed.
"""

from collections.abc import Mapping
from typing import Final

from dregcli import __version__
from dregcli.report.works import Work, iclr, neurips, pmlr, work

_ICML: Final = "International Conference on Machine Learning"
_AISTATS: Final = "International Conference on Artificial Intelligence and Statistics"
_JMLR: Final = "Journal of Machine Learning Research"

WORKS: Final[Mapping[str, Work]] = {
    "dreg": work(
        "software",
        author="{The dreg authors}",
        title=(
            "{dreg}: Train deep latent-variable models with multi-sample bounds and gradient estimators you can trust"
        ),
        version=__version__,
    ),
    "kingma2014vae": iclr(
        "2014",
        author="Kingma, Diederik P. and Welling, Max",
        title="Auto-Encoding Variational {Bayes}",
        arxiv="1312.6114",
    ),
    "rezende2014stochastic": pmlr(
        f"31st {_ICML}",
        "32",
        "2014",
        "1278--1286",
        author="Rezende, Danilo Jimenez and Mohamed, Shakir and Wierstra, Daan",
        title="Stochastic Backpropagation and Approximate Inference in Deep Generative Models",
        arxiv="1401.4082",
    ),
    "burda2016iwae": iclr(
        "2016",
        author="Burda, Yuri and Grosse, Roger and Salakhutdinov, Ruslan",
        title="Importance Weighted Autoencoders",
        arxiv="1509.00519",
    ),
    "bornschein2015rws": iclr(
        "2015",
        author='Bornschein, J{\\"o}rg and Bengio, Yoshua',
        title="Reweighted Wake-Sleep",
        arxiv="1406.2751",
    ),
    "nowozin2018jvi": iclr(
        "2018",
        author="Nowozin, Sebastian",
        title=(
            "Debiasing Evidence Approximations: On Importance-weighted Autoencoders and Jackknife Variational "
            "Inference"
        ),
    ),
    "li2016renyi": neurips(
        "29",
        "2016",
        author="Li, Yingzhen and Turner, Richard E.",
        title="{R\\'e}nyi Divergence Variational Inference",
        arxiv="1602.02311",
    ),
    "daudel2023vriwae": work(
        "article",
        author="Daudel, Kam{\\'e}lia and Benton, Joe and Shi, Yuyang and Doucet, Arnaud",
        title=(
            "Alpha-divergence Variational Inference Meets Importance Weighted Auto-Encoders: Methodology and "
            "Asymptotics"
        ),
        journal=_JMLR,
        volume="24",
        number="243",
        pages="1--83",
        year="2023",
        arxiv="2210.06226",
    ),
    "rainforth2018tighter": pmlr(
        f"35th {_ICML}",
        "80",
        "2018",
        "4277--4285",
        author=(
            "Rainforth, Tom and Kosiorek, Adam R. and Le, Tuan Anh and Maddison, Chris J. and Igl, Maximilian and "
            "Wood, Frank and Teh, Yee Whye"
        ),
        title="Tighter Variational Bounds are Not Necessarily Better",
        arxiv="1802.04537",
    ),
    "roeder2017stl": neurips(
        "30",
        "2017",
        author="Roeder, Geoffrey and Wu, Yuhuai and Duvenaud, David",
        title="Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference",
        arxiv="1703.09194",
    ),
    "tucker2019dreg": iclr(
        "2019",
        author="Tucker, George and Lawson, Dieterich and Gu, Shixiang and Maddison, Chris J.",
        title="Doubly Reparameterized Gradient Estimators for {Monte Carlo} Objectives",
        arxiv="1810.04152",
    ),
    "williams1992reinforce": work(
        "article",
        author="Williams, Ronald J.",
        title="Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning",
        journal="Machine Learning",
        volume="8",
        number="3--4",
        pages="229--256",
        year="1992",
    ),
    "mnih2016vimco": pmlr(
        f"33rd {_ICML}",
        "48",
        "2016",
        "2188--2196",
        author="Mnih, Andriy and Rezende, Danilo J.",
        title="Variational Inference for {Monte Carlo} Objectives",
        arxiv="1602.06725",
    ),
    "lievin2020ovis": neurips(
        "33",
        "2020",
        author="Li{\\'e}vin, Valentin and Dittadi, Andrea and Christensen, Anders and Winther, Ole",
        title="Optimal Variance Control of the Score-Function Gradient Estimator for Importance-Weighted Bounds",
        arxiv="2008.01998",
    ),
    "kingma2015adam": iclr(
        "2015",
        author="Kingma, Diederik P. and Ba, Jimmy",
        title="{Adam}: A Method for Stochastic Optimization",
        arxiv="1412.6980",
    ),
    "kingma2016iaf": neurips(
        "29",
        "2016",
        author=(
            "Kingma, Diederik P. and Salimans, Tim and Jozefowicz, Rafal and Chen, Xi and Sutskever, Ilya and "
            "Welling, Max"
        ),
        title="Improved Variational Inference with Inverse Autoregressive Flow",
        arxiv="1606.04934",
    ),
    "salimans2017pixelcnn": iclr(
        "2017",
        author="Salimans, Tim and Karpathy, Andrej and Chen, Xi and Kingma, Diederik P.",
        title=(
            "{PixelCNN++}: Improving the {PixelCNN} with Discretized Logistic Mixture Likelihood and Other "
            "Modifications"
        ),
        arxiv="1701.05517",
    ),
    "tipping1999ppca": work(
        "article",
        author="Tipping, Michael E. and Bishop, Christopher M.",
        title="Probabilistic Principal Component Analysis",
        journal="Journal of the Royal Statistical Society: Series B",
        volume="61",
        number="3",
        pages="611--622",
        year="1999",
    ),
    "alpaydin1998digits": work(
        "misc",
        author="Alpaydin, E. and Kaynak, C.",
        title="Optical Recognition of Handwritten Digits",
        howpublished="UCI Machine Learning Repository",
        year="1998",
        doi="10.24432/C50P49",
    ),
    "pedregosa2011sklearn": work(
        "article",
        author=(
            'Pedregosa, Fabian and Varoquaux, Ga{\\"e}l and Gramfort, Alexandre and Michel, Vincent and '
            "Thirion, Bertrand and Grisel, Olivier and Blondel, Mathieu and Prettenhofer, Peter and Weiss, Ron and "
            "Dubourg, Vincent and Vanderplas, Jake and Passos, Alexandre and Cournapeau, David and "
            "Brucher, Matthieu and Perrot, Matthieu and Duchesnay, {\\'E}douard"
        ),
        title="Scikit-learn: Machine Learning in {Python}",
        journal=_JMLR,
        volume="12",
        pages="2825--2830",
        year="2011",
    ),
    "lecun1998mnist": work(
        "article",
        author="LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick",
        title="Gradient-Based Learning Applied to Document Recognition",
        journal="Proceedings of the IEEE",
        volume="86",
        number="11",
        pages="2278--2324",
        year="1998",
    ),
    "salakhutdinov2008quantitative": work(
        "inproceedings",
        author="Salakhutdinov, Ruslan and Murray, Iain",
        title="On the Quantitative Analysis of Deep Belief Networks",
        booktitle=f"Proceedings of the 25th {_ICML}",
        pages="872--879",
        year="2008",
    ),
    "larochelle2011nade": pmlr(
        f"14th {_AISTATS}",
        "15",
        "2011",
        "29--37",
        author="Larochelle, Hugo and Murray, Iain",
        title="The Neural Autoregressive Distribution Estimator",
    ),
    "xiao2017fashion": work(
        "misc",
        author="Xiao, Han and Rasul, Kashif and Vollgraf, Roland",
        title="{Fashion-MNIST}: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
        year="2017",
        arxiv="1708.07747",
    ),
    "lake2015omniglot": work(
        "article",
        author="Lake, Brenden M. and Salakhutdinov, Ruslan and Tenenbaum, Joshua B.",
        title="Human-level concept learning through probabilistic program induction",
        journal="Science",
        volume="350",
        number="6266",
        pages="1332--1338",
        year="2015",
    ),
    "marlin2010silhouettes": pmlr(
        f"13th {_AISTATS}",
        "9",
        "2010",
        "509--516",
        author="Marlin, Benjamin M. and Swersky, Kevin and Chen, Bo and de Freitas, Nando",
        title="Inductive Principles for Restricted {Boltzmann} Machine Learning",
    ),
    "vehtari2024psis": work(
        "article",
        author="Vehtari, Aki and Simpson, Daniel and Gelman, Andrew and Yao, Yuling and Gabry, Jonah",
        title="{Pareto} Smoothed Importance Sampling",
        journal=_JMLR,
        volume="25",
        number="72",
        pages="1--58",
        year="2024",
        arxiv="1507.02646",
    ),
    "zhang2009pareto": work(
        "article",
        author="Zhang, Jin and Stephens, Michael A.",
        title="A New and Efficient Estimation Method for the Generalized {Pareto} Distribution",
        journal="Technometrics",
        volume="51",
        number="3",
        pages="316--325",
        year="2009",
    ),
    "neal2001ais": work(
        "article",
        author="Neal, Radford M.",
        title="Annealed Importance Sampling",
        journal="Statistics and Computing",
        volume="11",
        number="2",
        pages="125--139",
        year="2001",
        arxiv="physics/9803008",
    ),
    "neal2011hmc": work(
        "incollection",
        author="Neal, Radford M.",
        title="{MCMC} Using {Hamiltonian} Dynamics",
        booktitle="Handbook of {Markov} Chain {Monte Carlo}",
        editor="Brooks, Steve and Gelman, Andrew and Jones, Galin L. and Meng, Xiao-Li",
        publisher="Chapman and Hall/CRC",
        pages="113--162",
        year="2011",
        arxiv="1206.1901",
    ),
    "wu2017quantitative": iclr(
        "2017",
        author="Wu, Yuhuai and Burda, Yuri and Salakhutdinov, Ruslan and Grosse, Roger",
        title="On the Quantitative Analysis of Decoder-Based Generative Models",
        arxiv="1611.04273",
    ),
    "holm1979multiple": work(
        "article",
        author="Holm, Sture",
        title="A Simple Sequentially Rejective Multiple Test Procedure",
        journal="Scandinavian Journal of Statistics",
        volume="6",
        number="2",
        pages="65--70",
        year="1979",
    ),
}
"""All of them."""
