# SPDX-License-Identifier: BSD-3-Clause
"""Cpus: each verdict on a machine made of files."""

from __future__ import annotations

from pollmode.host_report import Verdict
from pollmode.host_report.testing import FakeHost

CPUS = "/sys/devices/system/cpu"


def test_the_level_of_the_cpu_is_told(host: FakeHost, look) -> None:
    assert look("cpu")[0].text == "Example cpu, x86-64-v4"
    host.replace("/proc/cpuinfo", "avx512vl", "")
    assert look("cpu")[0].text == "Example cpu, x86-64-v3"
    host.replace("/proc/cpuinfo", "avx2", "hypervisor")
    assert look("cpu")[0].text == "Example cpu, x86-64-v2, virtual machine"
    host.replace("/proc/cpuinfo", "popcnt", "")
    assert look("cpu")[0].text == "Example cpu, x86-64, virtual machine"


def test_a_counter_that_changes_its_pace(host: FakeHost, only) -> None:
    host.replace("/proc/cpuinfo", "nonstop_tsc", "")
    assert only("cpu").mend == "take a cpu that has nonstop_tsc"
    host.replace("/proc/cpuinfo", "fpu", "fpu hypervisor")
    assert only("cpu").verdict is Verdict.YELLOW
    assert only("cpu").mend == "qemu-system-x86_64 -cpu host,+invtsc ..."


def test_features_that_cannot_be_read(host: FakeHost, only) -> None:
    host.remove("/proc/cpuinfo")
    assert only("cpu").mend == "mount -t proc proc /proc"


def test_a_cpuset_leaves_some(host: FakeHost, look) -> None:
    host.replace("/proc/self/status", "0-3", "1,3")
    assert look("cores")[0].text == "2 cpus of 4 online may be used: 1, 3"


def test_no_cpu_that_an_lcore_can_run_on(host: FakeHost, only) -> None:
    host.write(f"{CPUS}/online", "0-255")
    host.replace("/proc/self/status", "0-3", "130-135")
    assert only("cores").verdict is Verdict.RED
    assert only("cores").mend == "taskset -c 0-127 testpmd ..."


def test_a_single_cpu_is_shared(host: FakeHost, only) -> None:
    host.replace("/proc/self/status", "0-3", "2")
    assert only("cores").verdict is Verdict.YELLOW
    assert only("cores").text == "1 cpu of 4 online may be used: 2; all ports share it"


def test_two_threads_of_a_core_are_not_two_cores(host: FakeHost, only) -> None:
    for number, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        host.write(f"{CPUS}/cpu{number}/topology/thread_siblings_list", siblings)
    assert only("cores").text == "cpus share 2 cores in pairs: two poll loops on one core run at half speed"
    assert only("cores").mend == "testpmd -l 0,1 ..."


def test_the_threads_of_the_only_core_are_all_there_is(host: FakeHost, look) -> None:
    for number in range(4):
        host.write(f"{CPUS}/cpu{number}/topology/thread_siblings_list", "0-3")
    assert [finding.verdict for finding in look("cores")] == [Verdict.GREEN, Verdict.GREEN]
    assert look("cores")[1].text == "the cpus are threads of one core"


def test_a_cgroup_grants_less_time_than_there_are_cpus(host: FakeHost, only, look) -> None:
    host.write("/sys/fs/cgroup/user.slice/cpu.max", "250000 100000")
    assert "grants the time of 2.5 cpus for 4" in only("cores").text
    assert only("cores").mend == "testpmd -l 0,1 ..."
    host.write("/sys/fs/cgroup/user.slice/cpu.max", "50000 100000")
    assert only("cores").mend == "docker update --cpus 2 CONTAINER"
    host.write("/sys/fs/cgroup/user.slice/cpu.max", "400000 100000")
    assert [finding.verdict for finding in look("cores")] == [Verdict.GREEN]


def test_a_cgroup_above_or_of_version_1_counts_too(host: FakeHost, only) -> None:
    host.write("/sys/fs/cgroup/cpu.max", "100000 100000")
    assert "time of 1 cpus" in only("cores").text
    host.remove("/sys/fs/cgroup")
    host.write("/proc/self/mounts", "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0")
    host.write("/proc/self/cgroup", "3:cpu:/box")
    host.write("/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", 150000)
    host.write("/sys/fs/cgroup/cpu/box/cpu.cfs_period_us", 100000)
    assert "time of 1.5 cpus" in only("cores").text


def test_no_cpu_is_set_aside(host: FakeHost, only) -> None:
    host.write(f"{CPUS}/isolated", "")
    host.write(f"{CPUS}/nohz_full", "  (null)")
    assert only("isolation").verdict is Verdict.YELLOW
    assert only("isolation").mend == "add to the kernel's command line: isolcpus=2-3 nohz_full=2-3"
    host.write("/etc/default/grub", "")
    assert "/etc/default/grub.d/pollmode.cfg && sudo update-grub" in only("isolation").mend
    host.write("/usr/sbin/grubby", "")
    assert only("isolation").mend.startswith('sudo grubby --update-kernel=ALL --args="isolcpus=2-3 nohz_full=2-3"')


def test_cpus_set_aside_that_have_ticks(host: FakeHost, only) -> None:
    host.write(f"{CPUS}/isolated", "1,3")
    assert only("isolation").text.startswith("cpus 1, 3 are isolated but have ticks")
    assert "isolcpus=1,3 nohz_full=1,3" in only("isolation").mend


def test_one_cpu_cannot_be_set_aside(host: FakeHost, look) -> None:
    host.write(f"{CPUS}/isolated", "")
    host.write(f"{CPUS}/online", "0")
    assert [finding.verdict for finding in look("isolation")] == [Verdict.GREEN]


def test_a_governor_that_saves_power(host: FakeHost, only, look) -> None:
    host.write(f"{CPUS}/cpu3/cpufreq/scaling_governor", "powersave")
    assert only("governor").text.startswith("performance, powersave")
    assert only("governor").mend == f"echo performance | sudo tee {CPUS}/cpu*/cpufreq/scaling_governor"
    for number in range(4):
        host.remove(f"{CPUS}/cpu{number}/cpufreq")
    assert look("governor")[0].verdict is Verdict.GREEN


def test_time_that_other_machines_took(host: FakeHost, only, look) -> None:
    host.write("/proc/stat", "cpu  500 0 400 9000 0 0 0 100 0 0\ncpu0 1 2 3")
    assert look("steal")[0].text == "1.0 % of the time went to other machines"
    host.write("/proc/stat", "cpu  500 0 300 9000 0 0 0 200 0 0")
    assert only("steal").text.startswith("2.0 %")
    host.remove("/proc/stat")
    assert look("steal")[0].verdict is Verdict.GREEN
