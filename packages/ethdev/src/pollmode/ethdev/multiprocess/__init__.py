# SPDX-License-Identifier: BSD-3-Clause
"""Ports of one process used by others: `lending` is the side of the process that owns them, `secondary` the other."""
