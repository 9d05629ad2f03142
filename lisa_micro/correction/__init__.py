"""Correct instances by hand: actions, their replay from a log, and what follows for measurements and training."""
