"""The app: talk to a micrograph in the browser. ``python -m app`` or ``lisa-micro app``."""
