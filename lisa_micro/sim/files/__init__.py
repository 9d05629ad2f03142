"""Simulated scenes in files: cached, written with their truth, as contact sheets."""
