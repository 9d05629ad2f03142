"""Questions about a tracked video."""
