"""Videos: instances found, linked, measured, and questions about them answered."""
