# SPDX-License-Identifier: BSD-3-Clause
import inspect
import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

import pollmode.net


def test_every_module_is_named():
    assert sorted(pollmode.net.__all__) == sorted(module.name for module in pkgutil.iter_modules(pollmode.net.__path__))
    assert dir(pollmode.net) == sorted(pollmode.net.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="quic"):
        _ = pollmode.net.quic


@pytest.mark.parametrize("name", pollmode.net.__all__)
def test_every_public_name_is_there_documented_and_typed(name):
    module = getattr(pollmode.net, name)
    assert module is import_module(f"pollmode.net.{name}")
    for public in module.__all__:
        value = getattr(module, public)
        function = getattr(value, "py_func", value)
        if inspect.isfunction(function):
            assert function.__doc__, public
            signature = inspect.signature(function)
            assert signature.return_annotation is not inspect.Signature.empty, public
            assert all(one.annotation is not one.empty for one in signature.parameters.values()), public


def test_a_mac_address_is_read_without_the_compiler():
    code = (
        "import sys; from pollmode.net import mac, address; sys.exit('numba' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
