"""A tiny experiment of each kind, as the text of a file."""

TRAINING = """\
title = "A tiny experiment"
authors = "Nobody 2026"
place = "nowhere"
what = "A test."

[experiment]
kind = "training"
seeds = "0-1"

[experiment.options]
dataset = "digits"
k = 2
steps = 10
batch_size = 16
hidden = [6]
latent_dim = 2
eval_every = 5
log_every = 5
track_estimators = "reparam,dreg"

[[experiment.runs]]
estimator = "dreg"

[[experiment.runs]]
estimator = "rws/reparam"

[experiment.evaluation]
split = "test"
k = 6
n = 20

[[figure]]
y = "bound-valid"

[[figure]]
y = "variance"

[[figure]]
y = "log-likelihood"
x = "k"

[[figure]]
y = "snr"

[[published]]
y = "log-likelihood"
at = { objective = "iwae", k = 2 }
value = -30.5
error = 0.1
read = "eye"
source = "nowhere, figure 1"
what = "an invented number, for a test"
"""
"""Two pairs at two seeds, 10 steps, on the digits."""

TOY = """\
title = "A tiny toy"
authors = "Nobody 2026"
place = "nowhere"
what = "A test."

[experiment]
kind = "toy-gradients"
seeds = "3,4"
k = [1, 2]
pairs = ["iwae/reparam", "iwae/dreg", "iwae/stl"]
replicates = 400

[[figure]]
y = "variance"
x = "k"

[[figure]]
y = "squared_bias"
x = "k"

[[published]]
y = "variance"
at = { pair = "iwae/dreg", k = 1 }
value = 0.1
read = "table"
source = "nowhere, table 1"
what = "an invented number, for a test"

[[published]]
y = "variance"
of = "slope"
at = { pair = "iwae/reparam" }
value = -1.0
read = "theory"
source = "nowhere, theorem 1"
what = "an invented number, for a test"

[[published]]
y = "variance"
of = "slope"
at = { pair = "iwae/reparam", k = 1 }
value = -1.0
read = "theory"
source = "nowhere, theorem 1"
what = "an invented number, for a test"
"""
"""Three pairs at two seeds, 400 gradients each."""
