# SPDX-License-Identifier: BSD-3-Clause
"""The vhost-user protocol, both sides."""
