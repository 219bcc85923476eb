# SPDX-License-Identifier: BSD-3-Clause
"""Captures packets of a running process, as dpdk-dumpcap does."""
