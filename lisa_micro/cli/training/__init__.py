"""Commands about data sets, models and their training."""
