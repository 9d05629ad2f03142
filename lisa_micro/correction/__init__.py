"""Corrections by hand: actions on instances, their replay, and what follows from corrected labels."""
