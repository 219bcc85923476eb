# SPDX-License-Identifier: BSD-3-Clause
"""The counters of a running process for Prometheus."""
