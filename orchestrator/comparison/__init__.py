"""Comparison of sources and results: before/after pairs, change maps, contact sheets, plots, the report page."""
