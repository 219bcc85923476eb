# SPDX-License-Identifier: BSD-3-Clause
"""Print what the ports of a running process do, once a second until it ends: secondary.py [--file-prefix PREFIX]."""

import sys
import time

from pollmode import eal, ethdev

with eal.Environment.start(["--proc-type=secondary", *sys.argv[1:]]) as environment:
    ports = ethdev.open_ports(environment)
    try:
        while True:
            for port in ports:
                stats = port.stats()
                print(f"{port.name}: {stats.ipackets} received, {stats.opackets} sent", flush=True)
            time.sleep(1)
    except eal.HostError as error:
        sys.exit(str(error))
