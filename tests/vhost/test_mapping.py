# SPDX-License-Identifier: BSD-3-Clause
"""Memory of the front end that this process may not map: what it is told."""

import os
import resource

import pytest

from pollmode.vhost.faults import RefusedMessage
from pollmode.vhost.mapping import MappedFile

LIMIT = 1 << 45  # more than any process of the tests has


def test_memory_beyond_the_limit_of_this_process_names_the_limit():
    before = resource.getrlimit(resource.RLIMIT_AS)
    fd = os.memfd_create("large", os.MFD_CLOEXEC)
    os.ftruncate(fd, 2 * LIMIT)
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, before[1]))
    try:
        with pytest.raises(RefusedMessage, match=r"Cannot allocate memory: this process may map .*; raise ulimit -v"):
            MappedFile(fd, 0, 2 * LIMIT)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        os.close(fd)
