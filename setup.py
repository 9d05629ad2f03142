"""Packages of the wheel: the folders ``app`` and ``finetune`` are installed under names of their own."""

from setuptools import find_packages, setup

FOLDERS = {"lisa_micro_app": "app", "lisa_micro_finetune": "finetune"}

packages = find_packages(include=["lisa_micro", "lisa_micro.*"])
for name, folder in FOLDERS.items():
    packages += [name, *(f"{name}.{package}" for package in find_packages(folder))]

setup(packages=packages, package_dir=FOLDERS)
