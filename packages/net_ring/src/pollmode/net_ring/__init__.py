# SPDX-License-Identifier: BSD-3-Clause
"""Driver of a port on rings in memory."""
