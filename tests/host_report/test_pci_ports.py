# SPDX-License-Identifier: BSD-3-Clause
"""Why a network device is no port, and the one command that makes it one: each state of a device with a driver."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from pollmode.bus_pci import GROUP
from pollmode.host_report import Finding, Host, Verdict
from pollmode.host_report.host import PCI_DRIVERS
from pollmode.host_report.mending import DEVBIND
from pollmode.host_report.pci_devices import NO_IOMMU
from pollmode.host_report.testing import FakeHost

ADDRESS = "0000:04:00.0"


@pytest.fixture
def put(host: FakeHost, look):
    """Put a vmxnet3 device at a driver; return what is said of it."""

    def put(driver: str, interface: str = "", group: str = "12") -> Finding:
        host.add_pci(ADDRESS, "15ad:07b0", "0x020000", driver, interface, group=group)
        (finding,) = look("pci")
        return finding

    return put


def test_no_device(look) -> None:
    assert [(finding.verdict, finding.text) for finding in look("pci")] == [
        (Verdict.GREEN, "no network device on the PCI bus")
    ]


def test_a_device_at_vfio_is_a_port(put) -> None:
    finding = put("vfio-pci")
    assert finding.verdict is Verdict.GREEN
    assert finding.text == f"{ADDRESS} 15ad:07b0, vfio-pci: a port of net_vmxnet3 by -a {ADDRESS}"


def test_a_device_of_the_kernels_is_to_be_bound(put) -> None:
    finding = put("vmxnet3", "ens192")
    assert finding.verdict is Verdict.YELLOW
    assert finding.text == (
        f"{ADDRESS} 15ad:07b0 (ens192), vmxnet3: not taken, the kernel's driver vmxnet3 has it; net_vmxnet3 could"
    )
    assert finding.mend == f"{DEVBIND} --bind vfio-pci {ADDRESS}"


def test_a_device_without_a_driver_is_to_be_bound(put) -> None:
    finding = put("")
    assert finding.text.endswith("not taken, no driver hands it to a program; net_vmxnet3 could")
    assert finding.mend == f"{DEVBIND} --bind vfio-pci {ADDRESS}"


def test_a_device_that_routes_go_over_is_left_alone(host: FakeHost, put) -> None:
    host.routed.add("ens192")
    finding = put("vmxnet3", "ens192")
    assert "the kernel's driver vmxnet3 has it and routes go over ens192; net_vmxnet3 could" in finding.text
    assert finding.mend == "testpmd --vdev net_af_packet0,iface=ens192 ..."


def test_others_of_the_group_are_named(host: FakeHost, put) -> None:
    host.add_pci("0000:04:00.1", "8086:1533", "0x030000", "igb", group="12")
    host.add_pci("0000:04:00.2", "8086:1533", "0x030000", "pcieport", group="12")
    finding = put("vfio-pci")
    assert finding.text.endswith("not taken, 0000:04:00.1 (igb) of its IOMMU group 12 must leave the kernel too")
    assert finding.mend == f"{DEVBIND} --bind vfio-pci 0000:04:00.1"


def test_a_group_of_someone_else(host: FakeHost, put) -> None:
    host.denied.add("/dev/vfio/12")
    finding = put("vfio-pci")
    assert finding.text.endswith("not taken, /dev/vfio/12 is not yours to open")
    assert finding.mend == "sudo chown $(id -u) /dev/vfio/12"


def test_a_group_without_an_iommu_has_another_file(host: FakeHost, put) -> None:
    host.write("/dev/vfio/noiommu-12", "")
    host.denied.add("/dev/vfio/noiommu-12")
    assert put("vfio-pci").mend == "sudo chown $(id -u) /dev/vfio/noiommu-12"


def test_vfio_without_a_group(put) -> None:
    finding = put("vfio-pci", group="")
    assert finding.text.endswith("not taken, it is in no IOMMU group")
    assert finding.mend == f"{DEVBIND} --bind uio_pci_generic {ADDRESS}"


def test_a_device_at_uio_needs_root(host: FakeHost, put) -> None:
    assert put("uio_pci_generic").verdict is Verdict.GREEN
    host.replace("/proc/self/status", "000001ffffffffff", "0")
    host.remove(f"/sys/bus/pci/devices/{ADDRESS}")
    finding = put("uio_pci_generic")
    assert finding.text.endswith("not taken, uio_pci_generic needs root")
    assert finding.mend == f'sudo "$(command -v testpmd)" -a {ADDRESS} ...'


def test_the_command_fits_what_the_machine_has(host: FakeHost, put, look) -> None:
    host.remove("/sys/class/iommu/dmar0")
    assert put("").mend == f"{DEVBIND} --bind vfio-pci --noiommu-mode {ADDRESS}"
    host.write(NO_IOMMU, "Y")
    assert look("pci")[0].mend == f"{DEVBIND} --bind vfio-pci {ADDRESS}"
    host.remove("/sys/module/vfio_pci")
    assert look("pci")[0].mend == f"sudo modprobe vfio-pci && {DEVBIND} --bind vfio-pci {ADDRESS}"
    host.remove(NO_IOMMU)
    host.replace("/proc/cpuinfo", "fpu", "fpu hypervisor")
    assert look("pci")[0].mend == f"sudo modprobe uio_pci_generic && {DEVBIND} --bind uio_pci_generic {ADDRESS}"
    host.folder("/sys/module/uio_pci_generic")
    assert look("pci")[0].mend == f"{DEVBIND} --bind uio_pci_generic {ADDRESS}"


def test_the_ids_are_those_of_the_drivers() -> None:
    drivers = [point.load() for point in entry_points(group=GROUP)]
    told = {f"{vendor:04x}:{device:04x}": driver.name for driver in drivers for vendor, device in driver.ids}
    assert told == PCI_DRIVERS, "host.PCI_DRIVERS must know each driver's devices"
    assert Host().pci_drivers() == PCI_DRIVERS
