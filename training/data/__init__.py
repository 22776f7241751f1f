"""The data of a training run: sources, pairs, the train and held-out sets, patches."""
