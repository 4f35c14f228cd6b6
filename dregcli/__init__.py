"""Train deep latent-variable models with multi-sample bounds and gradient estimators you can trust."""

__version__ = "0.1.0"
