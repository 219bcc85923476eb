# SPDX-License-Identifier: BSD-3-Clause
"""IOMMU, VFIO and UIO: each verdict on a machine made of files."""

from __future__ import annotations

from pollmode.host_report import Verdict
from pollmode.host_report.testing import FakeHost

NO_IOMMU = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"


def without_iommu(host: FakeHost, command_line: str = "quiet") -> None:
    host.remove("/sys/kernel/iommu_groups")
    host.write("/proc/cmdline", command_line)


def test_an_iommu_that_is_off(host: FakeHost, only) -> None:
    without_iommu(host)
    assert only("iommu").verdict is Verdict.YELLOW
    assert only("iommu").mend == "add to the kernel's command line: intel_iommu=on iommu=pt"
    host.replace("/proc/cpuinfo", "GenuineIntel", "AuthenticAMD")
    assert only("iommu").mend == "add to the kernel's command line: amd_iommu=on iommu=pt"


def test_an_iommu_that_was_asked_for_and_is_not_there(host: FakeHost, only) -> None:
    without_iommu(host, "quiet intel_iommu=on iommu=pt")
    assert "kernel command line: intel_iommu=on iommu=pt" in only("iommu").text
    assert only("iommu").mend == "sudo systemctl reboot --firmware-setup"


def test_a_virtual_machine_goes_without(host: FakeHost, only) -> None:
    without_iommu(host)
    host.replace("/proc/cpuinfo", "fpu", "fpu hypervisor")
    assert only("iommu").mend == f"echo 1 | sudo tee {NO_IOMMU}"
    host.remove("/sys/module/vfio")
    assert only("iommu").mend == "sudo modprobe vfio enable_unsafe_noiommu_mode=1"
    host.remove("/proc/modules")
    assert only("iommu").mend == "start a kernel that has vfio built in: this one loads no modules"


def test_vfio_is_not_loaded(host: FakeHost, only) -> None:
    host.remove("/sys/module/vfio_pci")
    assert only("vfio").mend == "sudo modprobe vfio-pci"
    host.write("/proc/sys/kernel/modules_disabled", 1)
    assert only("vfio").mend == "start a kernel that has vfio-pci built in: this one loads no modules"


def test_vfio_that_is_built_in_is_seen_by_its_driver(host: FakeHost, look) -> None:
    host.remove("/sys/module/vfio_pci")
    host.folder("/sys/bus/pci/drivers/vfio-pci")
    assert look("vfio")[0].verdict is Verdict.GREEN


def test_a_group_of_someone_else(host: FakeHost, only, look) -> None:
    host.write("/dev/vfio/13", "")
    host.denied.add("/dev/vfio/13")
    assert look("vfio")[0].text == "vfio-pci is loaded, 2 groups bound"
    assert only("vfio").text == "group 13 is not yours to open"
    assert only("vfio").mend == "sudo chown $(id -u) /dev/vfio/13"


def test_no_iommu_mode_is_told(host: FakeHost, look) -> None:
    host.write(NO_IOMMU, "Y")
    assert look("vfio")[0].text.endswith("no-IOMMU mode: devices reach all memory")


def test_uio_matters_where_vfio_is_not(host: FakeHost, only, look) -> None:
    host.remove("/sys/module/vfio_pci")
    assert only("uio").mend == "sudo modprobe uio_pci_generic"
    host.folder("/sys/module/igb_uio")
    assert look("uio")[0].text == "igb_uio loaded, devices: none"


def test_a_uio_device_of_someone_else(host: FakeHost, only) -> None:
    host.write("/dev/uio0", "")
    host.denied.add("/dev/uio0")
    assert only("uio").mend == "sudo chown $(id -u) /dev/uio0"
