# SPDX-License-Identifier: BSD-3-Clause
"""Packet headers, checksums and packet types."""
