"""The app: talk to a micrograph in the browser. ``python -m lisa_micro_app`` or ``lisa-micro app``."""
