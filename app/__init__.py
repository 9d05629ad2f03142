"""The app: talk to a micrograph in the browser. Started by ``lisa-micro app`` or ``python -m lisa_micro_app``."""
