"""What is burnt into a micrograph: the data bar, boxes with letters, and the scale bar with its length."""
