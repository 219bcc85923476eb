# SPDX-License-Identifier: BSD-3-Clause
"""Cpus: which there are, which this process may use, and what else runs on them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pollmode.eal.coremap import MAX_LCORE, cpu_list, cpu_ranges
from pollmode.eal.hugepages import cgroup_folders
from pollmode.host_report.finding import Finding, counted, green, red, yellow
from pollmode.host_report.host import Host
from pollmode.host_report.mending import kernel_argument

__all__ = ["cores", "cpu", "governor", "isolation", "steal"]

CPUS = "/sys/devices/system/cpu"
STEAL_LIMIT = 1.0
"""Percent of the time since the start of the machine that other machines may take unnoticed."""

# x86-64 psABI, table 3.1, in the words of /proc/cpuinfo
LEVELS = (
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"}),
    ("x86-64-v2", {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
)


def cpu(host: Host) -> Iterator[Finding]:
    """Say what the cpus can."""
    flags = host.flags()
    if not flags:
        yield yellow("the cpus' features cannot be read", "mount -t proc proc /proc")
        return
    reached = [name for name, needed in reversed(LEVELS) if needed <= flags]
    name = host.fields("/proc/cpuinfo").get("model name", "unknown cpu")
    yield green(f"{name}, {reached[-1] if reached else 'x86-64'}{', virtual machine' if host.virtual else ''}")
    if not {"constant_tsc", "nonstop_tsc"} <= flags:
        yield yellow(
            "the cycle counter changes its pace: rates in cycles mislead",
            "qemu-system-x86_64 -cpu host,+invtsc ..." if host.virtual else "take a cpu that has nonstop_tsc",
        )


def cores(host: Host) -> Iterator[Finding]:
    """Say which cpus poll loops may have."""
    online = cpu_list(host.text(f"{CPUS}/online"))
    allowed = cpu_list(host.fields("/proc/self/status").get("Cpus_allowed_list", "")) or online
    usable = [number for number in allowed if number < MAX_LCORE and (number in online or not online)]
    if not usable:
        yield red(f"no cpu of this process is below {MAX_LCORE}", f"taskset -c 0-{MAX_LCORE - 1} testpmd ...")
        return
    of_all = f" of {len(online)} online" if online else ""
    text = f"{counted(len(usable), 'cpu')}{of_all} may be used: {cpu_ranges(usable)}"
    if len(usable) == 1:
        yield yellow(f"{text}; all ports share it", "docker update --cpuset-cpus 0-1 CONTAINER, or another virtual cpu")
    else:
        yield green(text)
        yield from _siblings(host, usable)
    yield from _quota(host, usable)


def _siblings(host: Host, usable: list[int]) -> Iterator[Finding]:
    """Two poll loops on the threads of one core share its units."""
    first = {number: cpu_list(_threads(host, number))[:1] or [number] for number in usable}
    one_each = sorted({min(number for number in usable if first[number] == core) for core in first.values()})
    if 1 < len(one_each) < len(usable):
        yield yellow(
            f"cpus share {len(one_each)} cores in pairs: two poll loops on one core run at half speed",
            f"testpmd -l {','.join(map(str, one_each))} ...",
        )
    elif len(one_each) < len(usable):
        yield green("the cpus are threads of one core")


def _threads(host: Host, number: int) -> str:
    return host.text(f"{CPUS}/cpu{number}/topology/thread_siblings_list")


def _quota(host: Host, usable: list[int]) -> Iterator[Finding]:
    """A cgroup may grant less time than there are cpus; the kernel then stops poll loops in every period."""
    if not host.exists("/proc/self/mounts"):
        return
    grants = []
    for folder in cgroup_folders("cpu", host.root):
        inside = "/" + str(folder.relative_to(host.root))
        words = host.text(f"{inside}/cpu.max").split()  # cgroup v2: "150000 100000" or "max 100000"
        words = words or [host.text(f"{inside}/cpu.cfs_quota_us"), host.text(f"{inside}/cpu.cfs_period_us")]
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            grants.append(int(words[0]) / int(words[1]))
    if grants and min(grants) < len(usable):
        whole = math.floor(min(grants))
        chosen = ",".join(map(str, usable[:whole]))
        yield yellow(
            f"the cgroup grants the time of {min(grants):g} cpus for {len(usable)}: the kernel halts poll loops",
            f"testpmd -l {chosen} ..." if whole else "docker update --cpus 2 CONTAINER",
        )


def isolation(host: Host) -> Iterator[Finding]:
    """Say whether the scheduler keeps other work and ticks off some cpus."""
    isolated = cpu_list(host.text(f"{CPUS}/isolated"))
    listed = host.text(f"{CPUS}/nohz_full")
    tickless = cpu_list(listed) if listed[:1].isdigit() else []
    if isolated and set(isolated) <= set(tickless):
        yield green(f"cpus {cpu_ranges(isolated)} are isolated and without ticks")
        return
    online = cpu_list(host.text(f"{CPUS}/online"))
    chosen = isolated or online[len(online) // 2 :]
    if not isolated and len(online) < 2:
        yield green("one cpu: none to set aside")
        return
    told = f"cpus {cpu_ranges(isolated)} are isolated but have ticks" if isolated else "no cpu is set aside (isolcpus)"
    which = cpu_ranges(chosen).replace(" ", "")
    yield yellow(f"{told}: other work delays packets", kernel_argument(host, f"isolcpus={which} nohz_full={which}"))


def governor(host: Host) -> Iterator[Finding]:
    """Say whether the cpus run at full pace."""
    paces = {host.text(f"{CPUS}/{name}/cpufreq/scaling_governor") for name in host.names(CPUS)} - {""}
    if not paces:
        yield green("the frequency is not this kernel's to choose")
    elif paces == {"performance"}:
        yield green("performance")
    else:
        yield yellow(
            f"{', '.join(sorted(paces))}: cpus start slow",
            f"echo performance | sudo tee {CPUS}/cpu*/cpufreq/scaling_governor",
        )


def steal(host: Host) -> Iterator[Finding]:
    """Say how much time other virtual machines took (proc(5), /proc/stat: the eighth number)."""
    words = host.text("/proc/stat").partition("\n")[0].split()[1:]
    times = [int(word) for word in words[:8]]
    if len(times) < 8 or not sum(times):
        yield green("the kernel does not count it")
        return
    percent = 100 * times[7] / sum(times)
    if percent <= STEAL_LIMIT:
        yield green(f"{percent:.1f} % of the time went to other machines")
    else:
        yield yellow(
            f"{percent:.1f} % of the time went to other machines: loops halt unseen",
            "virsh vcpupin DOMAIN VCPU CPU, on the machine below",
        )
