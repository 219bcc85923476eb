# SPDX-License-Identifier: BSD-3-Clause
"""The text of --pci-host=qemu:..., and QEMU's command line made of it."""

from __future__ import annotations

import shutil

import pytest

from pollmode.bus_pci.qemu import QemuNic
from pollmode.bus_pci.qemu.command import MOST_MEMORY, Handles, command
from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.memory import Region

REGION = Region(0x100000000, 64 << 20, 9, 0, 4096)
HANDLES = Handles(3, 4, 5, 6)


@pytest.mark.parametrize(
    ("text", "netdev"),
    [
        ("fd:7", "dgram,local.type=fd,local.str=7"),
        ("dgram:/a:/b", "dgram,local.type=unix,local.path=/a,remote.type=unix,remote.path=/b"),
        ("stream:/s", "stream,server=off,addr.type=unix,addr.path=/s"),
        ("listen:/s", "stream,server=on,addr.type=unix,addr.path=/s"),
        ("tap:tap0", "tap,ifname=tap0,script=no,downscript=no"),
        ("hub:3", "hubport,hubid=3"),
        ("[user,restrict=on]", "user,restrict=on"),
        ("none", None),
    ],
)
def test_every_form_of_a_peer(text: str, netdev: str | None) -> None:
    nic = QemuNic.parse(f"device=vmxnet3,netdev={text},mac=52:54:00:11:22:33")
    assert (nic.model, nic.properties, nic.netdev) == ("vmxnet3", (("mac", "52:54:00:11:22:33"),), netdev)
    assert nic.fd == (7 if text == "fd:7" else None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "which device"),
        ("netdev=hub:0", "which device"),
        ("device=", "'device' must be KEY=VALUE"),
        ("device=vm xnet3", "which device"),
        ("device=vmxnet3,device=e1000", "'device' is given twice; a second device is a second --pci-host"),
        ("device=vmxnet3,netdev=dgrm:/a:/b", r"netdev=dgrm:/a:/b is unknown \(did you mean 'dgram'\?\)"),
        ("device=vmxnet3,netdev=dgram:/a", "must be dgram:OURS:PEERS"),
        ("device=vmxnet3,netdev=stream:", "must be stream:PATH"),
        ("device=vmxnet3,netdev=hub:x", "'x' is no number"),
        ("device=vmxnet3,netdev=fd:-1", "'-1' is no number"),
        ("device=vmxnet3,netdev=stream:/" + 107 * "x", "longer than the 107 bytes"),
        ("device=vmxnet3,netdev=[dgram", r"a '\[' is not closed"),
        ("device=vmxnet3,mac", "'mac' must be KEY=VALUE"),
        ("device=vmxnet3,m$=1", r"'m\$' must be KEY=VALUE"),
    ],
)
def test_a_wrong_text_is_named_in_one_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        QemuNic.parse(text)
    assert "\n" not in str(raised.value)


def test_the_command_line_names_each_device_and_its_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    nics = [QemuNic.parse("device=vmxnet3,netdev=hub:0,mac=52:54:00:11:22:33"), QemuNic.parse("device=e1000")]
    words = command(nics, REGION, HANDLES)
    assert words[:5] == ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", "/usr/bin/qemu-system-x86_64"]
    assert words[-6:] == [
        "-netdev",
        "hubport,hubid=0,id=net0",
        "-device",
        "vmxnet3,id=nic0,bus=pcie.0,addr=0x1,romfile=,mac=52:54:00:11:22:33,netdev=net0",
        "-device",
        "e1000,id=nic1,bus=pcie.0,addr=0x2,romfile=",
    ]


def test_what_cannot_be_one_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="30 devices, at most 29 fit"):
        command([QemuNic("vmxnet3")] * 30, REGION, HANDLES)
    with pytest.raises(ConfigError, match="larger than a PC has in one piece; start with -m 2815 or less"):
        command([QemuNic("vmxnet3")], Region(0, MOST_MEMORY, 9, 0, 4096), HANDLES)
    monkeypatch.setattr(shutil, "which", lambda name: None if name.startswith("qemu") else name)
    with pytest.raises(HostError, match="qemu-system-x86_64 is not installed; run: sudo apt-get install qemu-system"):
        command([QemuNic("vmxnet3")], REGION, HANDLES)
