"""Stage ``adapt``: tune a preset on records of the user."""
