# SPDX-License-Identifier: BSD-3-Clause
"""The PCI bus as sysfs tells it, and the kinds of device that DPDK's devbind knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pollmode.host_report.host import Host

__all__ = [
    "KINDS",
    "NET",
    "NO_IOMMU",
    "PCI",
    "PciDevice",
    "VFIO",
    "driver_of",
    "group_file",
    "has_iommu",
    "holding_group",
    "names_of",
    "pci_devices",
]

PCI = "/sys/bus/pci/devices"
NO_IOMMU = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
NAMES = ("/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids", "/usr/share/pci.ids")
"""Where distributions keep the list of names: Debian, Fedora, Arch and others."""
VFIO = "vfio-pci"
_LEAVE_A_GROUP = ("", VFIO, "pci-stub", "pcieport")
"""Drivers beside which VFIO gives a group to programs (linux/Documentation/driver-api/vfio.rst)."""
BRIDGE = 0x06  # PCI Code and ID Assignment, 1.7

NET = "net"
KINDS = {
    NET: "Network",
    "baseband": "Baseband",
    "crypto": "Crypto",
    "dma": "DMA",
    "event": "Eventdev",
    "mempool": "Mempool",
    "compress": "Compress",
    "misc": "Misc (rawdev)",
    "regex": "Regex",
    "ml": "ML",
}
"""The kinds by DPDK's word for --status-dev, in the order in which it shows them."""

# Base class (PCI Code and ID Assignment, 1), vendor, devices; a class alone takes all of it.
_MEMBERS = """
net       02
net       08 177d a0dd a049  # Cavium PKX
net       05 1af4 1110  # AVP, a network device that says it is memory
net       12 8086 0b30  # Intel FPGA
baseband  12
crypto    10
crypto    0b 8086
dma       08 177d a081 a08c  # Marvell CNXK, Odyssey
dma       08 19e5 a122  # HiSilicon
dma       08 8086 0b00 0b25 11fb 1212 2021  # Intel DSA and I/OAT
dma       08 8086 6f20 6f21 6f22 6f23 6f24 6f25 6f26 6f27 6f2e 6f2f
event     08 177d a04b a04d a051 a0f9 a0fa  # Cavium SSO, TIM; CNXK SSO
event     0b 8086 270b 2710 2714  # Intel DLB
mempool   08 177d a053 a0fb a0fc  # Cavium FPA, CNXK NPA
compress  12 177d a037  # Cavium ZIP
misc      08 177d a089 a059 a060 a0f0 a0f1  # CNXK BPHY, inline device
misc      06 8086 201c 347e  # Intel NTB
misc      01 1af4 1001 1042  # virtio-blk
regex     08 177d a0f4  # CN9K REE
ml        08 177d a092  # CNXK ML
"""


@dataclass(frozen=True)
class PciDevice:
    """A device on the PCI bus; texts are as in sysfs, and empty when there is nothing.

    `ids` is "vendor:device" and `class_code` has six digits, both in hexadecimal; `driver` is the kernel's; `numa_node`
    is negative when the device has none, and `group` is the number of its IOMMU group.
    """

    address: str
    ids: str
    class_code: str
    driver: str = ""
    interfaces: tuple[str, ...] = ()
    numa_node: int = -1
    group: str = ""
    modalias: str = ""

    def __str__(self) -> str:
        names = f" ({', '.join(self.interfaces)})" if self.interfaces else ""
        return f"{self.address} {self.ids}{names}, {self.driver or 'no driver'}"

    def is_a(self, kind: str) -> bool:
        """Whether it is of one of KINDS; some are of two."""
        vendor, device = self.ids.split(":")
        return any(
            base_class == self.class_code[:2] and wanted in ("", vendor) and (not devices or device in devices)
            for name, base_class, wanted, devices in _TABLE
            if name == kind
        )


def _parsed(line: str) -> tuple[str, str, str, frozenset[str]]:
    kind, base_class, *ids = line.partition("#")[0].split()
    return kind, base_class, ids[0] if ids else "", frozenset(ids[1:])


_TABLE = [_parsed(line) for line in _MEMBERS.strip().splitlines()]


def pci_devices(host: Host, kind: str = "") -> list[PciDevice]:
    """Return the devices on the PCI bus in order of address, all or those of a kind."""
    found = (_read(host, address) for address in host.names(PCI))
    return [device for device in found if not kind or device.is_a(kind)]


def _read(host: Host, address: str) -> PciDevice:
    folder = f"{PCI}/{address}"
    class_code = f"{host.number(f'{folder}/class') or 0:06x}"
    net = "" if int(class_code[:2], 16) == BRIDGE else host.folder_named("net", folder)
    node = host.number(f"{folder}/numa_node")
    return PciDevice(
        address,
        ":".join(f"{host.number(f'{folder}/{name}') or 0:04x}" for name in ("vendor", "device")),
        class_code,
        host.link(f"{folder}/driver"),
        tuple(host.names(net)) if net else (),
        -1 if node is None else node,
        host.link(f"{folder}/iommu_group"),
        host.text(f"{folder}/modalias"),
    )


def driver_of(host: Host, address: str) -> str:
    """Return the driver that a device has now, "" when it has none."""
    return host.link(f"{PCI}/{address}/driver")


def group_file(host: Host, address: str) -> str:
    """Return the path of a device's VFIO group, "" when it is in none; without an IOMMU its name is another."""
    group = host.link(f"{PCI}/{address}/iommu_group")
    unsafe = f"/dev/vfio/noiommu-{group}"
    return (unsafe if host.exists(unsafe) else f"/dev/vfio/{group}") if group else ""


def holding_group(host: Host, group: str) -> list[str]:
    """Return the addresses of the devices that keep VFIO from giving an IOMMU group to a program."""
    members = host.names(f"/sys/kernel/iommu_groups/{group}/devices")
    return [address for address in members if driver_of(host, address) not in _LEAVE_A_GROUP]


def has_iommu(host: Host) -> bool:
    """Whether the kernel has an IOMMU at work."""
    return bool(host.names("/sys/class/iommu"))


def names_of(host: Host, devices: Iterable[PciDevice]) -> dict[str, str]:
    """Return the names of devices by "vendor:device", as lspci prints them; one without a name is "Device"."""
    names = {device.ids: "Device" for device in devices}
    lines = next((text for text in map(host.text, NAMES) if text), "").splitlines()
    vendor = ""
    for line in lines:  # "8086  Intel", then "\t1533  I210"; classes, which begin with C, stand behind all vendors
        if line.startswith("C "):
            break
        if line[:4].isalnum():
            vendor = line[:4]
        elif line[:1] == "\t" and line[1:2] != "\t" and (ids := f"{vendor}:{line[1:5]}") in names:
            names[ids] = line[5:].strip()
    return names
