# SPDX-License-Identifier: BSD-3-Clause
"""Looks at a machine and says what stops or slows Pollmode, and the command that mends it."""
