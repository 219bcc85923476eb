# SPDX-License-Identifier: BSD-3-Clause
"""The virtual device bus: devices named by --vdev."""
