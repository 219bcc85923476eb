# SPDX-License-Identifier: BSD-3-Clause
"""Network devices and why each is no port, on a machine made of files."""

from __future__ import annotations

from pollmode.bus_vdev import Registry
from pollmode.host_report import Host, Verdict, why_no_ports
from pollmode.host_report.pci_devices import NET, pci_devices
from pollmode.host_report.testing import FakeHost


def test_network_devices_alone_are_listed(host: FakeHost) -> None:
    host.add_pci("0000:00:1f.0", "8086:7a04", "0x060100", "lpc_ich")
    host.add_pci("0000:03:00.0", "8086:1533", "0x020000", "igb", "eth0")
    host.add_pci("0000:04:00.0", "15ad:07b0", "0x020000")
    host.add_pci("0000:05:00.0", "15b3:1017", "0x020700", "mlx5_core")
    host.add_pci("0000:06:00.0", "1af4:1110", "0x050000")
    assert [(str(device), device.class_code) for device in pci_devices(host, NET)] == [
        ("0000:03:00.0 8086:1533 (eth0), igb", "020000"),
        ("0000:04:00.0 15ad:07b0, no driver", "020000"),
        ("0000:05:00.0 15b3:1017, mlx5_core", "020700"),
        ("0000:06:00.0 1af4:1110, no driver", "050000"),
    ]


def test_the_interface_of_a_virtio_device_stands_a_level_lower(host: FakeHost) -> None:
    host.add_pci("0000:00:03.0", "1af4:1041", "0x020000", "virtio-pci")
    host.folder("/sys/bus/pci/devices/0000:00:03.0/virtio2/net/ens3")
    assert str(pci_devices(host, NET)[0]) == "0000:00:03.0 1af4:1041 (ens3), virtio-pci"


def test_a_device_that_no_driver_knows_has_a_port_in_its_place(host: FakeHost, look) -> None:
    host.add_pci("0000:03:00.0", "8086:1533", "0x020000", "igb", "eth0")
    host.add_pci("0000:04:00.0", "8086:1533", "0x020000", "vfio-pci")
    first, second = look("pci")
    assert first.verdict is second.verdict is Verdict.YELLOW
    known = "no installed driver knows 8086:1533; the drivers are net_vmxnet3 (15ad:07b0)"
    assert first.text == f"0000:03:00.0 8086:1533 (eth0), igb: not taken, {known}"
    assert first.mend == "testpmd --vdev net_af_packet0,iface=eth0 ..."
    assert second.mend == "testpmd --vdev net_null0 ..."
    host.replace("/proc/self/status", "000001ffffffffff", "0")
    assert look("pci")[0].mend == 'sudo "$(command -v testpmd)" --vdev net_af_packet0,iface=eth0 ...'


def test_interfaces_that_a_packet_socket_can_serve(host: FakeHost, look) -> None:
    host.write("/sys/class/net/tun0/type", 65534)
    host.write("/sys/class/net/br0/type", 1)
    host.write("/sys/class/net/br0/flags", "0x1002")
    assert look("interfaces")[0].text == "eth0, lo, br0 (down): ports by --vdev net_af_packet0,iface=eth0"


def test_interfaces_without_the_capability(host: FakeHost, only) -> None:
    host.replace("/proc/self/status", "000001ffffffffff", "000001ffffffdfff")
    assert only("interfaces").text == "eth0, lo: net_af_packet needs the capability net_raw"
    assert only("interfaces").mend == 'sudo "$(command -v testpmd)" --vdev net_af_packet0,iface=eth0 ...'


def test_interfaces_without_the_driver(host: FakeHost, only) -> None:
    host.drivers.remove("net_af_packet")
    assert only("interfaces").text == "eth0, lo: not taken, net_af_packet is not installed"
    assert only("interfaces").mend == "testpmd --vdev net_null0 ..."


def test_no_interface_at_all(host: FakeHost, look) -> None:
    host.remove("/sys/class/net")
    assert [finding.verdict for finding in look("interfaces")] == [Verdict.GREEN]


def test_an_application_without_ports_tells_each_device_and_a_way_out(host: FakeHost) -> None:
    host.add_pci("0000:03:00.0", "8086:1533", "0x020000", "igb", "eth0")
    assert why_no_ports(host) == [
        "0000:03:00.0 8086:1533 (eth0), igb: not taken, no installed driver knows 8086:1533; the drivers are"
        " net_vmxnet3 (15ad:07b0)",
        "eth0, lo: ports by --vdev net_af_packet0,iface=eth0",
        "virtual devices are made when --vdev names them: "
        "net_af_packet, net_null, net_ring, net_vhost, net_virtio_user",
        "for a port: testpmd --vdev net_null0 ...; the command doctor looks at the whole machine",
    ]


def test_the_drivers_of_this_installation_are_the_ones_the_bus_finds() -> None:
    assert Host().vdev_drivers() == Registry().names()
    assert any("net_null" in line for line in why_no_ports())
