"""Clusters, clips, materials and faults that tests and benchmarks share; production code never imports it."""
