# SPDX-License-Identifier: BSD-3-Clause
"""Rings, memory pools and packet buffers."""
