# SPDX-License-Identifier: BSD-3-Clause
"""Commands that differ from machine to machine."""

from __future__ import annotations

from pollmode.host_report.host import Host

__all__ = ["AS_ROOT", "DEVBIND", "kernel_argument", "load_module"]

AS_ROOT = '"$(command -v testpmd)"'
"""testpmd behind sudo, which looks in folders of its own."""
DEVBIND = 'sudo "$(command -v pollmode-devbind)"'
"""pollmode-devbind as root."""


def kernel_argument(host: Host, words: str) -> str:
    """Return the command that adds words to the kernel's command line, to be followed by a restart."""
    if host.exists("/usr/sbin/grubby"):
        return f'sudo grubby --update-kernel=ALL --args="{words}" && sudo reboot'
    if host.exists("/etc/default/grub"):
        line = f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {words}"'
        folder = "/etc/default/grub.d"
        write = f"echo '{line}' | sudo tee -a {folder}/pollmode.cfg"
        return f"sudo mkdir -p {folder} && {write} && sudo update-grub && sudo reboot"
    return f"add to the kernel's command line: {words}"


def load_module(host: Host, name: str) -> str:
    """Return the command that loads a kernel module, or what to do where the kernel loads none."""
    if host.exists("/proc/modules") and host.text("/proc/sys/kernel/modules_disabled") != "1":
        return f"sudo modprobe {name}"
    return f"start a kernel that has {name} built in: this one loads no modules"
