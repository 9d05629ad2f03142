"""Training: one loop, one configuration, several stages."""
