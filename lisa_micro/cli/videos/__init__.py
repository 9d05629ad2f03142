"""Commands about a video."""
