"""Answer questions about a tracked video."""
