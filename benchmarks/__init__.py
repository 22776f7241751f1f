"""Measurements that anyone can rerun; tests never import them."""
