# SPDX-License-Identifier: BSD-3-Clause
import subprocess
import sys

import pytest

import pollmode.vhost as face


@pytest.mark.parametrize("name", face.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert name in dir(face)
    assert getattr(face, name).__doc__


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Sesion'"):
        _ = face.Sesion


def test_importing_the_package_and_its_facts_does_not_import_numba():
    code = "import sys, pollmode.vhost, pollmode.vhost.virtqueue; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
