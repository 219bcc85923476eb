# SPDX-License-Identifier: BSD-3-Clause
"""Our programs against DPDK's, in turn, on the same cores: ratios of medians with their spread."""
