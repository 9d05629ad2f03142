"""Suites of what the mask decoder sees: micrographs with labels, concepts, exemplars."""
