"""What a session holds: conversation, corrections, comparison, video."""
