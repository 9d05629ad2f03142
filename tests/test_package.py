"""The package as a library: public names, type information, and silence."""

import logging
import subprocess
import sys
from importlib.resources import files

import pytest

import lisa_micro


def test_every_public_name_can_be_imported():
    for name in lisa_micro.__all__:
        assert getattr(lisa_micro, name) is not None
    assert set(lisa_micro.__all__) <= set(dir(lisa_micro))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = lisa_micro.no_such_name


@pytest.mark.parametrize("package", ["lisa_micro", "lisa_micro_app", "lisa_micro_finetune"])
def test_type_information_is_shipped(package):
    assert files(package).joinpath("py.typed").is_file()


def test_the_library_logs_and_leaves_the_output_to_the_application():
    handlers = logging.getLogger("lisa_micro").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


def test_importing_the_library_is_light():
    code = "import sys, lisa_micro; print(sorted({'torch', 'pandas', 'scipy', 'PIL', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_results_and_measures_need_no_torch():
    code = "import sys, lisa_micro as lm; lm.Answer, lm.measure_particles; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
