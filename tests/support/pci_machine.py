# SPDX-License-Identifier: BSD-3-Clause
"""A believable machine with PCI devices: kernel drivers, VFIO, UIO, none; network, storage, crypto, DMA, an FPGA."""

from __future__ import annotations

from pathlib import Path

from pollmode.host_report.testing_kernel import FakeKernel

# address, vendor:device, class, driver, interface, IOMMU group, NUMA node
DEVICES = (
    ("0000:00:00.0", "8086:1237", "0x060000", "", "", "0", -1),
    ("0000:00:02.0", "1af4:1042", "0x010000", "virtio-pci", "", "2", 0),
    ("0000:00:03.0", "1af4:1041", "0x020000", "virtio-pci", "", "3", 0),
    ("0000:00:1f.2", "8086:2922", "0x010601", "ahci", "", "4", 0),
    ("0000:02:00.0", "144d:a808", "0x010802", "nvme", "", "20", 0),
    ("0000:03:00.0", "8086:1528", "0x020000", "ixgbe", "eth2", "21", 0),
    ("0000:03:00.1", "8086:1528", "0x020000", "ixgbe", "eth3", "21", 0),
    ("0000:04:00.0", "8086:10fb", "0x020000", "vfio-pci", "", "23", 1),
    ("0000:05:00.0", "15ad:07b0", "0x020000", "", "", "24", 1),
    ("0000:06:00.0", "1af4:1110", "0x050000", "uio_pci_generic", "", "", 1),
    ("0000:07:00.0", "8086:0435", "0x0b4000", "dh895xcc", "", "25", 0),
    ("0000:08:00.0", "8086:0b25", "0x088000", "idxd", "", "26", -1),
    ("0000:09:00.0", "8086:0b30", "0x120000", "dfl-pci", "", "27", 1),
    ("0000:0a:00.0", "abcd:ef01", "0x020000", "", "", "28", 0),
    ("0001:01:00.0", "177d:a0f7", "0x088000", "", "", "29", 0),
    ("0001:02:00.0", "177d:a092", "0x088000", "vfio-pci", "", "30", 0),
)
NVME, VIRTIO, FIRST, SECOND = "0000:02:00.0", "0000:00:03.0", "0000:03:00.0", "0000:03:00.1"
VFIO, FREE, AVP = "0000:04:00.0", "0000:05:00.0", "0000:06:00.0"
NAMES = """
15ad  VMware
\t07b0  VMXNET3 Ethernet Controller
1af4  Red Hat, Inc.
\t1041  Virtio 1.0 network device
\t1042  Virtio 1.0 block device
\t\t1af4 1100  QEMU Virtual Machine
8086  Intel Corporation
\t1528  Ethernet Controller 10-Gigabit X540-AT2
\t10fb  82599ES 10-Gigabit SFI/SFP+ Network Connection
\t\t1af4 1041  a subsystem is no device
C 02  Network controller
\t1528  no device either
"""


def made_machine(root: Path, *, net_nodes: bool = True) -> FakeKernel:
    """Make the machine below a folder; without `net_nodes` one network device has no NUMA node."""
    host = FakeKernel(root)
    host.write("/proc/self/status", "Uid:\t0\t0\t0\t0")
    for address, ids, code, driver, interface, group, node in DEVICES:
        if address == FREE and not net_nodes:
            node = -1
        host.add_pci(address, ids, code, driver, interface, node=node, group=group)
        if driver not in ("", "vfio-pci", "uio_pci_generic"):
            host.knows.setdefault(driver, set()).add(ids)
    host.folder(f"/sys/bus/pci/devices/{VIRTIO}/virtio1/net/ens3")
    host.folder("/sys/class/iommu/dmar0")
    host.folder("/sys/class/net")
    host.write("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N")
    host.write("/proc/modules", "")
    host.write("/usr/share/misc/pci.ids", NAMES)
    modules = f"/lib/modules/{host.system[1]}"
    host.write(f"{modules}/modules.builtin", "kernel/drivers/virtio/virtio_pci.ko")
    host.write(
        f"{modules}/modules.alias",
        "alias usb:v1D6Bp0001d*dc*dsc*dp*ic*isc*ip*in* xhci\n"
        "alias pci:v00008086d00001528sv*sd*bc*sc*i* ixgbe\n"
        "alias pci:v000015ADd000007B0sv*sd*bc*sc*i* vmxnet3\n"
        "alias pci:v*d*sv*sd*bc01sc08i02* nvme\n"
        "alias pci:v0000144Dd0000A808sv*sd*bc*sc*i* other_nvme",
    )
    host.at(f"{modules}/modules.builtin.modinfo").write_text(
        "virtio_pci.license=GPL\0virtio_pci.alias=pci:v00001AF4d*sv*sd*bc*sc*i*\0ext4.alias=fs-ext4\0"
    )
    return host
