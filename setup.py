"""Packages of the wheel, some of which have another name than their folder.

``app`` and ``finetune`` are installed as ``lisa_micro_app`` and ``lisa_micro_finetune``; ``data/samples``, which holds
no code, as ``lisa_micro_samples``. Folders that hold data alone (weights, texts) are packages without ``__init__.py``.
"""

from setuptools import find_namespace_packages, setup

FOLDERS = {"lisa_micro_app": "app", "lisa_micro_finetune": "finetune", "lisa_micro_samples": "data/samples"}

packages = find_namespace_packages(include=["lisa_micro", "lisa_micro.*"], exclude=["*.__pycache__"])
for name, folder in FOLDERS.items():
    packages += [name, *(f"{name}.{package}" for package in find_namespace_packages(folder, exclude=["*__pycache__"]))]

setup(packages=packages, package_dir=FOLDERS)
