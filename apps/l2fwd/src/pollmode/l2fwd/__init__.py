# SPDX-License-Identifier: BSD-3-Clause
"""Layer 2 forwarding between pairs of ports, as DPDK's l2fwd does."""
