"""What one would write without dreg: a VAE by DReG in plain torch. python script.py IMAGES.npz --steps 2000 --k 64"""

import argparse
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("images", help="arrays train and test, (N, D), from 0 to the number levels")
parser.add_argument("--steps", type=int, default=2000)
parser.add_argument("--k", type=int, default=64)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--hidden", type=int, default=200)
parser.add_argument("--latent-dim", type=int, default=50)
parser.add_argument("--lr", type=float, default=1e-3)
args = parser.parse_args()

torch.manual_seed(0)
arrays = np.load(args.images)
train, test = (torch.from_numpy(arrays[name]).float() / float(arrays["levels"]) for name in ("train", "test"))
mean = train.mean(0)
d, h, latent = train.shape[1], args.hidden, args.latent_dim
encoder = nn.Sequential(nn.Linear(d, h), nn.Tanh(), nn.Linear(h, h), nn.Tanh(), nn.Linear(h, 2 * latent))
decoder = nn.Sequential(nn.Linear(latent, h), nn.Tanh(), nn.Linear(h, h), nn.Tanh(), nn.Linear(h, d))
decoder[-1].bias.data = torch.logit(mean.clamp(1e-3, 1 - 1e-3))
theta, phi = list(decoder.parameters()), list(encoder.parameters())
optimizer = torch.optim.Adam([*theta, *phi], lr=args.lr)


def log_weights(x):
    loc, raw = encoder(x - mean).chunk(2, -1)
    scale = F.softplus(raw)
    z = loc + scale * torch.randn(args.k, *loc.shape)
    logits = decoder(z)
    log_p = -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
    log_prior = -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1)
    loc, scale = loc.detach(), scale.detach()
    log_q = -0.5 * (((z - loc) / scale) ** 2 + 2 * scale.log() + math.log(2 * math.pi)).sum(-1)
    return log_p + log_prior - log_q


for step in range(args.steps):
    if step % (len(train) // args.batch_size) == 0:
        batches = torch.randperm(len(train)).split(args.batch_size)
    x = torch.bernoulli(train[batches[step % (len(train) // args.batch_size)]])
    log_w = log_weights(x)
    bound = torch.logsumexp(log_w, 0).mean() - math.log(args.k)
    surrogate = (log_w.detach().softmax(0) ** 2 * log_w).sum(0).mean()
    of_phi = torch.autograd.grad(-surrogate, phi, retain_graph=True)
    of_theta = torch.autograd.grad(-bound, theta)
    for parameter, gradient in zip([*theta, *phi], [*of_theta, *of_phi], strict=True):
        parameter.grad = gradient
    optimizer.step()

with torch.no_grad():
    bounds = [torch.logsumexp(log_weights(torch.bernoulli(x)), 0) - math.log(args.k) for x in test.split(128)]
print(f"test bound {torch.cat(bounds).mean():.4f}")
