# SPDX-License-Identifier: BSD-3-Clause
"""Driver that is the vhost-user back end of a virtio front end."""
