"""Checks of this machine and of the cluster that the settings name."""
