"""The examples in the documentation of measures and metrics run, and every public function has its sections."""

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import lisa_micro.measure
import lisa_micro.measure.structures
import lisa_micro.metrics

PACKAGES = (lisa_micro.measure, lisa_micro.measure.structures, lisa_micro.metrics)
MODULES = [f"{package.__name__}.{m.name}" for package in PACKAGES for m in pkgutil.iter_modules(package.__path__)]
FUNCTIONS = [
    (f"{package.__name__}.{name}", getattr(package, name))
    for package in PACKAGES
    for name in package.__all__
    if inspect.isfunction(getattr(package, name))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(module, extraglobs={"np": np}, optionflags=flags)
    assert result.failed == 0


def test_there_are_examples():
    count = 0
    for name in MODULES:
        module = importlib.import_module(name)
        count += sum(bool(test.examples) for test in doctest.DocTestFinder().find(module))
    assert count >= 25


@pytest.mark.parametrize(("name", "function"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_public_functions_document_arguments_and_results(name, function):
    text = inspect.getdoc(function) or ""
    first = text.splitlines()[0]
    assert first.endswith((".", ":", ";")) or len(text.splitlines()) > 1
    if len(inspect.signature(function).parameters) > 2:
        assert "Parameters\n----------" in text, name
        for parameter in inspect.signature(function).parameters:
            assert parameter in text, f"{name}: {parameter}"
