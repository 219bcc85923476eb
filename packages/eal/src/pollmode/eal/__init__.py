# SPDX-License-Identifier: BSD-3-Clause
"""Environment layer: compiled code, memory, lcores, options, interrupts, logs."""
