# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel lets this process do: modules, capabilities, locked memory, device files, the runtime directory."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from pollmode.eal.hugepages import format_size
from pollmode.host_report.finding import Finding, green, red, yellow
from pollmode.host_report.host import Host
from pollmode.host_report.memory import soft_limit
from pollmode.host_report.mending import AS_ROOT, load_module

__all__ = ["capabilities", "has_capability", "memlock", "modules", "runtime", "tun"]

# linux/capability.h
CAPABILITIES = {"net_admin": 12, "net_raw": 13, "ipc_lock": 14, "sys_rawio": 17, "sys_admin": 21}
USES = {
    "net_raw": "net_af_packet",
    "net_admin": "net_tap",
    "ipc_lock": "locked memory",
    "sys_rawio": "port I/O, no-IOMMU mode",
    "sys_admin": "physical addresses",
}
LOCKED = 64 << 20
"""Bytes of locked memory that a region for a device takes at least."""


def has_capability(host: Host, name: str) -> bool:
    """Whether this process has a capability; the set is in hexadecimal (proc(5), CapEff)."""
    held = int(host.fields("/proc/self/status").get("CapEff", "0"), 16)
    return bool(held >> CAPABILITIES[name] & 1)


def capabilities(host: Host) -> Iterator[Finding]:
    """Say which capabilities this process has and what lacks without them."""
    lacking = [name for name in USES if not has_capability(host, name)]
    if not lacking:
        yield green("all that Pollmode can use")
        return
    uses = ", ".join(f"{name} ({USES[name]})" for name in lacking)
    granted = ",".join(f"+{name}" for name in lacking)
    user = "--reuid $(id -u) --regid $(id -g) --init-groups"
    yield yellow(
        f"without {uses}",
        f"sudo setpriv {user} --inh-caps={granted} --ambient-caps={granted} {AS_ROOT} ...",
    )


def memlock(host: Host) -> Iterator[Finding]:
    """Say how much memory may be locked: a device under VFIO needs all of a region locked."""
    limit = soft_limit(host, "Max locked memory")
    if limit is None:
        yield green("no limit")
    elif has_capability(host, "ipc_lock"):
        yield green(f"{format_size(limit)}, which does not bind this process (ipc_lock)")
    elif limit >= LOCKED:
        yield green(format_size(limit))
    else:
        yield yellow(f"{format_size(limit)}: too little for VFIO", "sudo prlimit --memlock=unlimited --pid $$")


def modules(host: Host) -> Iterator[Finding]:
    """Say which kernel features that drivers stand on are there, loaded or built in."""
    listed = {line.split()[-1] for line in host.text("/proc/misc").splitlines() if line.strip()}
    features = {
        "vhost-net": ("vhost_net", "vhost-net" in listed or host.exists("/dev/vhost-net"), "the kernel's vhost"),
        "tun": ("tun", "tun" in listed or host.exists("/dev/net/tun"), "net_tap"),
        "af_packet": ("af_packet", host.exists("/proc/net/packet"), "net_af_packet"),
    }
    there = [name for name, (module, seen, _) in features.items() if seen or host.module(module)]
    if there:
        yield green(", ".join(there))
    for name in (name for name in features if name not in there):
        module, _, use = features[name]
        yield yellow(f"{name} is not loaded: {use} needs it", load_module(host, module))


def tun(host: Host) -> Iterator[Finding]:
    """Say whether this process may make TAP interfaces."""
    path = "/dev/net/tun"
    if not host.exists(path):
        command = "sudo mkdir -p /dev/net && sudo mknod -m 666 /dev/net/tun c 10 200"  # devices.txt of Linux
        yield yellow(f"{path} is not there: net_tap needs it", command)
    elif not host.may(path, os.R_OK | os.W_OK):
        yield yellow(f"{path} is not yours to open: net_tap needs it", f"sudo chmod 666 {path}")
    else:
        yield green(f"{path} may be opened")


def runtime(host: Host) -> Iterator[Finding]:
    """Say whether a start can make its runtime directory."""
    base = host.runtime_base
    nearest = base
    while not host.exists(nearest) and nearest != "/":
        nearest = os.path.dirname(nearest)
    if host.may(nearest, os.W_OK | os.X_OK):
        yield green(base if nearest == base else f"{base} can be made")
    else:
        command = 'export RUNTIME_DIRECTORY="$(mktemp -d)"'
        yield red(f"{base}: {shlex.quote(nearest)} is not yours to write; a start without --in-memory fails", command)
