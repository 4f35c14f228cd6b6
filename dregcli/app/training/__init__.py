"""Train one run: new, resumed, or the encoder alone."""
