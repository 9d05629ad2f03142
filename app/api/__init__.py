"""The app for programs: an API, and tools for language models."""
