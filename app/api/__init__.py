"""The app for programs: endpoints and tools for language models."""
