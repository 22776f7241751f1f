"""The balance of a film: the encoder's processor time against the network's, by measured figures alone."""
