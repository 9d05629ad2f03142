"""Stage ``adapt``: a preset tuned on one's own records."""
