# SPDX-License-Identifier: BSD-3-Clause
"""Ports, queues and the dispatch to the drivers' burst callbacks."""
