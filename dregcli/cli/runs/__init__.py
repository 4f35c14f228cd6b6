"""``dreg runs``: what there is in a store, and what can be done with it beside training. A file for each command."""
