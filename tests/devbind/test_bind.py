# SPDX-License-Identifier: BSD-3-Clause
"""Binding: what is written, refused, put back, owned and advised."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path

import pytest
from support.pci_machine import AVP, FIRST, FREE, SECOND, VFIO, VIRTIO

from pollmode.host_report.mending import DEVBIND
from pollmode.host_report.pci_devices import driver_of
from pollmode.host_report.testing_kernel import FakeKernel

PCI = "/sys/bus/pci/devices"
DRIVERS = "/sys/bus/pci/drivers"
NO_IOMMU = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"


def test_a_device_goes_to_vfio_and_back(host: FakeKernel, run) -> None:
    assert run("--bind=vfio-pci", "00:03.0") == (0, [], [])
    assert driver_of(host, VIRTIO) == "vfio-pci"
    assert host.written == [
        (f"{DRIVERS}/virtio-pci/unbind", VIRTIO),
        (f"{PCI}/{VIRTIO}/driver_override", "vfio-pci"),
        (f"{DRIVERS}/vfio-pci/bind", VIRTIO),
        (f"{PCI}/{VIRTIO}/driver_override", "\n"),
    ]
    assert host.text(f"{PCI}/{VIRTIO}/driver_override") == "(null)"
    assert run("-b", "virtio-pci", VIRTIO) == (0, [], [])
    assert driver_of(host, VIRTIO) == "virtio-pci"


def test_devices_by_interface_pattern_and_address_each_once(host: FakeKernel, run) -> None:
    assert run("-b", "uio_pci_generic", "eth2", "03:00.*", FREE)[0] == 0
    assert [driver_of(host, address) for address in (FIRST, SECOND, FREE)] == ["uio_pci_generic"] * 3
    assert [text for path, text in host.written if path.endswith("/bind")] == [FIRST, SECOND, FREE]


def test_a_driver_it_has_is_no_error(host: FakeKernel, run) -> None:
    told = f"Notice: {VFIO} already bound to driver vfio-pci, skipping"
    assert run("-b", "vfio-pci", VFIO) == (0, [], [told])
    assert host.written == []


def test_a_routed_interface_keeps_its_driver_unless_forced(host: FakeKernel, run) -> None:
    host.routed.add("eth2")
    code, _, errors = run("-b", "uio_pci_generic", FIRST, SECOND)
    assert (code, errors) == (
        0,
        [
            f"Warning: routing table indicates that interface {FIRST} is active. Not modifying: routes go over eth2;"
            " --force does it all the same"
        ],
    )
    assert (driver_of(host, FIRST), driver_of(host, SECOND)) == ("ixgbe", "uio_pci_generic")
    assert run("-b", "uio_pci_generic", "--force", FIRST) == (0, [], [])
    assert driver_of(host, FIRST) == "uio_pci_generic"


def test_an_interface_below_a_routed_bridge_keeps_its_driver(host: FakeKernel, run) -> None:
    host.link_to("/sys/class/net/eth3/upper_bond0", "../bond0")
    host.link_to("/sys/class/net/bond0/upper_br0", "../br0")
    host.link_to("/sys/class/net/br0/upper_bond0", "../bond0")  # a circle, which the kernel does not make
    host.routed.add("br0")
    assert "routes go over br0;" in run("-b", "vfio-pci", "eth3")[2][0]
    assert driver_of(host, SECOND) == "ixgbe"
    assert not any("*Active*" in line for line in run("--status-dev", "net")[1])


@pytest.mark.parametrize("driver", ["vfio-pci", "uio_pci_generic"])
def test_a_bind_that_fails_puts_the_old_driver_back(host: FakeKernel, run, driver: str) -> None:
    host.refused[driver, FIRST] = errno.EBUSY
    code, _, errors = run("-b", driver, FIRST, FREE)
    assert code == 1
    assert errors[0] == (
        f"Error: bind failed for {FIRST} - Cannot bind to driver {driver}: [Errno 16] Device or resource busy;"
        " it is back at driver ixgbe; the kernel's reason: dmesg | tail"
    )
    assert driver_of(host, FIRST) == "ixgbe"
    assert host.names(f"{PCI}/{FIRST}/net") == ["eth2"]
    assert host.text(f"{PCI}/{FIRST}/driver_override") == "(null)"
    assert driver_of(host, FREE) == driver  # one that fails stops no other


def test_a_device_without_a_driver_stays_without_when_its_bind_fails(host: FakeKernel, run) -> None:
    host.refused["vfio-pci", FREE] = errno.EINVAL
    host.remove(f"{PCI}/{FREE}/iommu_group")
    errors = run("-b", "vfio-pci", FREE)[2]
    assert len(errors) == 1
    assert errors[0].endswith(
        "it has no driver, as before; the device is in no IOMMU group: switch the IOMMU on, or bind to uio_pci_generic"
    )
    assert driver_of(host, FREE) == ""


def test_a_passthrough_driver_is_put_back_too(host: FakeKernel, run) -> None:
    code, _, errors = run("-b", "ixgbe", VFIO)
    assert code == 1
    assert "it is back at driver vfio-pci; ixgbe may not know 8086:10fb: these may do: vfio-pci" in errors[0]
    assert driver_of(host, VFIO) == "vfio-pci"
    assert host.text(f"{PCI}/{VFIO}/driver_override") == "(null)"


def test_what_cannot_be_put_back_is_told(host: FakeKernel, run) -> None:
    host.refused["vfio-pci", FIRST] = errno.EIO
    host.refused["ixgbe", FIRST] = errno.ENOMEM
    code, _, errors = run("-b", "vfio-pci", FIRST)
    assert code == 1
    assert "it could not be put back to ixgbe (Cannot bind to driver ixgbe: [Errno 12]" in errors[0]
    assert f"{DEVBIND} --bind ixgbe {FIRST}" in errors[0]


def test_without_the_right_nothing_changes(host: FakeKernel, run) -> None:
    host.denied.add(f"{DRIVERS}/ixgbe/unbind")
    code, _, errors = run("-b", "vfio-pci", FIRST)
    assert code == 1
    assert errors[0].startswith(f"Error: bind failed for {FIRST} - Cannot open {DRIVERS}/ixgbe/unbind: [Errno 13]")
    assert errors[0].endswith(f"it still has driver ixgbe; {DEVBIND} --bind vfio-pci {FIRST}")
    assert driver_of(host, FIRST) == "ixgbe"


def test_an_override_that_is_denied_puts_the_driver_back(host: FakeKernel, run) -> None:
    host.denied.add(f"{PCI}/{FIRST}/driver_override")
    assert run("-b", "vfio-pci", FIRST)[0] == 1
    # The kernel's own driver needs the override cleared, which is denied too: it is told, never left out.
    assert driver_of(host, FIRST) in ("ixgbe", "")


def test_an_override_somebody_left_is_cleared_for_a_kernel_driver(host: FakeKernel, run) -> None:
    host.write(f"{PCI}/{SECOND}/driver_override", "vfio-pci")
    host.remove(f"{PCI}/{SECOND}/driver")
    assert run("-b", "ixgbe", SECOND) == (0, [], [])
    assert driver_of(host, SECOND) == "ixgbe"


def test_a_kernel_that_does_nothing_is_an_error(host: FakeKernel, run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = host.put
    monkeypatch.setattr(host, "put", lambda path, text: path.endswith("vfio-pci/bind") or real(path, text))
    code, _, errors = run("-b", "vfio-pci", SECOND)
    assert code == 1
    assert "Cannot bind to driver vfio-pci: the kernel took it and did nothing; it is back at driver ixgbe" in errors[0]


def test_a_signal_waits_until_the_device_has_a_driver(host: FakeKernel, run, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = host.put, []

    def put(path: str, text: str) -> None:
        real(path, text)
        if path.endswith("ixgbe/unbind"):
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    monkeypatch.setattr(host, "put", put)
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(driver_of(host, SECOND)))
    try:
        assert run("-b", "uio_pci_generic", SECOND)[0] == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == ["uio_pci_generic"]


def test_other_devices_of_a_group_are_named(host: FakeKernel, run) -> None:
    hint = f"Hint: group 21 also holds {SECOND} (ixgbe): VFIO gives it to programs when these are unbound too"
    assert run("-b", "vfio-pci", FIRST) == (0, [], [hint])
    assert run("-b", "vfio-pci", SECOND) == (0, [], [])


def test_a_group_is_given_to_a_user(host: FakeKernel, run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Path, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((path, uid, gid)))
    assert run("-b", "vfio-pci", "-U", "root", "-G", "7", FREE)[0] == 0
    assert given == [(host.at("/dev/vfio/24"), 0, 7)]
    assert run("-b", "vfio-pci", "-U", "1000", VFIO)[0] == 0  # also of one that is bound already
    assert given[1:] == [(host.at("/dev/vfio/23"), 1000, -1)]
    host.write("/dev/vfio/noiommu-23", "")
    assert run("-b", "vfio-pci", "-G", "root", VFIO)[0] == 0
    assert given[2:] == [(host.at("/dev/vfio/noiommu-23"), -1, 0)]


def test_a_group_that_cannot_be_given_undoes_the_bind(host: FakeKernel, run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, uid: int, gid: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(os, "chown", refuse)
    code, _, errors = run("-b", "vfio-pci", "-U", "0", SECOND)
    assert code == 1
    assert f"failed to set IOMMU group ownership for {SECOND}: [Errno 1]" in errors[0]
    assert "; it is back at driver ixgbe; sudo " in errors[0]
    assert driver_of(host, SECOND) == "ixgbe"


def test_owners_are_for_vfio_alone(host: FakeKernel, run) -> None:
    hint = "Hint: --uid and --gid are for vfio-pci: driver uio_pci_generic has no groups to own"
    assert run("-b", "uio_pci_generic", "-U", "0", FREE) == (0, [], [hint])


def test_someone_behind_sudo_learns_how_to_open_the_group(
    host: FakeKernel, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "ann")
    assert run("-b", "vfio-pci", FREE)[2] == ["Hint: only root may open /dev/vfio/24: --uid ann gives it to ann"]
    assert run("-b", "vfio-pci", "-U", str(os.getuid()), FREE)[2] == [
        f"Notice: {FREE} already bound to driver vfio-pci, skipping"
    ]


# --- without an IOMMU -------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(host: FakeKernel) -> FakeKernel:
    host.remove("/sys/class/iommu/dmar0")
    return host


def test_vfio_without_an_iommu_wants_to_be_asked_twice(bare: FakeKernel, run) -> None:
    code, lines, errors = run("-b", "vfio-pci", FREE)
    assert (code, lines) == (1, [])
    told = "Error: IOMMU support is disabled, use --noiommu-mode for binding in noiommu mode; the device then reaches "
    assert errors[0].startswith(told)
    assert bare.written == []
    warning = "Warning: enabling unsafe no IOMMU mode for VFIO drivers"
    assert run("-b", "vfio-pci", "--noiommu-mode", FREE) == (0, [warning], [])
    assert (driver_of(bare, FREE), bare.text(NO_IOMMU)) == ("vfio-pci", "1")
    assert run("-b", "vfio-pci", SECOND)[:2] == (0, [])


def test_the_mode_goes_back_when_nothing_was_bound(bare: FakeKernel, run) -> None:
    bare.refused["vfio-pci", FREE] = errno.EIO
    assert run("-b", "vfio-pci", "--noiommu-mode", FREE)[0] == 1
    assert bare.text(NO_IOMMU) == "N"


def test_a_kernel_without_the_mode(bare: FakeKernel, run) -> None:
    bare.remove(NO_IOMMU)
    code, _, errors = run("-b", "vfio-pci", "--noiommu-mode", FREE)
    assert code == 1
    assert errors[0].startswith(
        f"Error: failed to check unsafe noiommu mode - Cannot open {NO_IOMMU}: [Errno 2] No such"
    )
    bare.write("/proc/cpuinfo", "flags: fpu hypervisor")
    assert run("-b", "vfio-pci", FREE)[2][0].endswith("or bind to uio_pci_generic")


def test_the_mode_may_not_be_changed(bare: FakeKernel, run) -> None:
    bare.denied.add(NO_IOMMU)
    code, _, errors = run("-b", "vfio-pci", "--noiommu-mode", FREE)
    assert code == 1
    assert errors[0].startswith("Error: failed to enable unsafe noiommu mode - Cannot open")
    assert errors[0].endswith("; run it as root")


# --- unbinding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("-u",), ("--unbind",), ("-b", "none"), ("--bind=None",)])
def test_a_device_loses_its_driver(host: FakeKernel, run, words: tuple[str, ...]) -> None:
    assert run(*words, "eth3") == (0, [], [])
    assert driver_of(host, SECOND) == ""


def test_all_of_dpdk_at_once(host: FakeKernel, run) -> None:
    assert run("-u", "dpdk") == (0, [], [])
    assert [driver_of(host, address) for address in (VFIO, AVP, "0001:02:00.0", FIRST)] == ["", "", "", "ixgbe"]


def test_a_device_without_a_driver_is_no_error(run) -> None:
    told = f"Notice: {FREE} VMXNET3 Ethernet Controller  is not currently managed by any driver"
    assert run("-u", FREE) == (0, [], [told])


def test_a_routed_interface_is_not_unbound_unless_forced(host: FakeKernel, run) -> None:
    host.routed.add("ens3")
    code, _, errors = run("-u", VIRTIO)
    assert (code, len(errors)) == (0, 1)
    assert errors[0].startswith(f"Warning: routing table indicates that interface {VIRTIO} is active. Skipping unbind")
    assert driver_of(host, VIRTIO) == "virtio-pci"
    assert run("-u", "--force", VIRTIO) == (0, [], [])
    assert driver_of(host, VIRTIO) == ""


def test_an_unbind_that_is_denied(host: FakeKernel, run) -> None:
    host.denied.add(f"{DRIVERS}/ixgbe/unbind")
    code, _, errors = run("-u", FIRST, AVP)
    assert code == 1
    assert errors[0].startswith(f"Error: unbind failed for {FIRST} - Cannot open {DRIVERS}/ixgbe/unbind: [Errno 13]")
    assert errors[0].endswith("; run it as root")
    assert driver_of(host, AVP) == ""  # one that fails stops no other
