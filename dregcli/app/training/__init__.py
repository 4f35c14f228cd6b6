"""Train one run: a new one, a resumed one, or only the encoder of another run."""
