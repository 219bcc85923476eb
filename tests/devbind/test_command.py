# SPDX-License-Identifier: BSD-3-Clause
"""The command line: what does not parse or name anything, and how it starts."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.pci_machine import FIRST, FREE, NVME

from pollmode.devbind import cli
from pollmode.host_report.pci_devices import driver_of
from pollmode.host_report.testing_kernel import FakeKernel


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 1, "Error: No action specified for devices. Please give a --bind, --ubind or --status option"),
        ((FREE,), 1, "Error: No action specified for devices."),
        (("-u",), 1, "Error: No devices specified."),
        (("-b", "vfio-pci"), 1, "Error: No devices specified."),
        (("-b", "vfio_nope", FREE), 1, "Error: Driver 'vfio_nope' is not loaded. Run: sudo modprobe vfio_nope"),
        (("-b", "vfio", FREE), 1, "Error: Module 'vfio' is loaded and is no driver of PCI devices"),
        (("-b", "virtio_pci", FREE), 1, "Error: Module 'virtio_pci' is loaded and is no driver of PCI devices (did"),
        (("-b", "..", FREE), 1, "Error: "),
        (("-u", "dpdk", FREE), 1, "Error: 'dpdk' stands for all devices of such drivers; say it alone"),
        (("-b", "vfio-pci", "-U", "99999999999", FREE), 1, "Error: --uid 99999999999: the largest number of a user"),
        (("-b", FREE, FIRST), 1, f"Error: Driver '{FREE}' does not look like a valid driver. Did you forget to "),
        (("-b", "eth2", FREE), 1, "Error: Driver 'eth2' does not look like a valid driver. Did you forget to specify"),
        (("-b", "vfio-pci", "eth9"), 1, 'Error: Unknown device: eth9. Please specify device in "bus:slot.func" format'),
        (("-u", "3:0.0"), 1, "Error: Unknown device: 3:0.0. Please"),
        (("-u", NVME), 1, f'Error: Unknown device: {NVME}. Please specify device in "bus:slot.func" format; {NVME} is'),
        (("-b", "x", "-u", FREE), 2, "Error: argument -u/--unbind: not allowed with argument -b/--bind"),
        (("--status-dev", "nett"), 2, "Error: argument --status-dev: invalid choice: 'nett' (choose from baseband, "),
        (("--frobnicate",), 2, "Error: No such option: --frobnicate"),
        (("-b", "vfio-pci", "-U", "no-such-one", FREE), 1, "Error: --uid no-such-one: there is no such user;"),
        (("-b", "vfio-pci", "-G", "no-such-one", FREE), 1, "Error: --gid no-such-one: there is no such group;"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(host: FakeKernel, run, words, code: int, text: str) -> None:
    ended, lines, errors = run(*words)
    assert (ended, lines, len(errors)) == (code, [], 1), errors
    assert errors[0].startswith(text)
    assert host.written == []


def test_an_unknown_device_among_others_stops_all(host: FakeKernel, run) -> None:
    assert run("-b", "vfio-pci", FREE, "eth9")[0] == 1
    assert driver_of(host, FREE) == ""


def test_a_slip_of_the_fingers_is_named(run) -> None:
    assert "(did you mean 'ens3'?)" in run("-u", "ens33")[2][0]
    assert "(did you mean 'net'?)" in run("--status-dev", "nett")[2][0]


def test_a_kernel_that_loads_no_modules_is_told_otherwise(host: FakeKernel, run) -> None:
    host.remove("/proc/modules")
    told = "Error: Driver 'ice' is not loaded. Run: start a kernel that has ice built in: this one loads no modules"
    assert run("-b", "ice", FREE)[2] == [told]


def test_no_supported_modules_are_a_warning(host: FakeKernel, run) -> None:
    for name in ("vfio-pci", "uio_pci_generic"):
        host.remove(f"/sys/bus/pci/drivers/{name}")
        host.remove(f"/sys/module/{name.replace('-', '_')}")
    warning = "Warning: no supported DPDK kernel modules are loaded; sudo modprobe vfio-pci"
    assert run("-u", "eth3") == (0, [], [warning])


def test_after_a_change_the_new_state_is_shown(run) -> None:
    code, lines, _ = run("-s", "--status-dev", "net", "-b", "vfio-pci", FREE)
    assert code == 0
    assert [line for line in lines if FREE in line] == [
        f"{FREE} 'VMXNET3 Ethernet Controller 07b0' numa_node=1 drv=vfio-pci unused=vmxnet3,uio_pci_generic"
    ]
    assert "No 'Regex' devices detected" in lines  # --status is all, whatever --status-dev says


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pollmode-devbind ")


def test_this_machine_can_be_shown_without_the_compiler() -> None:
    code = (
        "import sys; from pollmode.devbind import cli; code = cli.main(sys.argv[1:])\n"
        "print('heavy:', sorted({'numba', 'numpy', 'structlog'} & set(sys.modules)), code)"
    )
    for words in (["--help"], ["-s"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120)
        assert done.stdout.endswith("heavy: [] 0\n"), done


def test_a_reader_that_ends_early_gets_no_trace() -> None:
    words = f"{sys.executable} -m pollmode.devbind -s | head -1"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=120)
    assert done.stdout == "\n"
    assert "Traceback" not in done.stderr
