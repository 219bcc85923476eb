# SPDX-License-Identifier: BSD-3-Clause
"""The table of checks, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pollmode.host_report import cores, devices, leftovers, memory, passthrough, permissions, processes, software
from pollmode.host_report.finding import Check, Finding, yellow
from pollmode.host_report.host import Host

__all__ = ["CHECKS", "examine"]

CHECKS = (
    Check("system", "kernel and architecture", software.system),
    Check("python", "the interpreter", software.python),
    Check("libraries", "numba, numpy and the others, and their versions", software.libraries),
    Check("code cache", "the folder of compiled code: writable, size, stale files", software.cache),
    Check("cpu", "/proc/cpuinfo: features, cycle counter", cores.cpu),
    Check("cores", "online cpus, cpuset, threads of a core, time that a cgroup grants", cores.cores),
    Check("isolation", "isolcpus and nohz_full", cores.isolation),
    Check("governor", "cpufreq", cores.governor),
    Check("steal", "/proc/stat: time that other virtual machines took", cores.steal),
    Check("memory", "/proc/meminfo and the cgroup's limits", memory.memory),
    Check("limits", "ulimit: address space, file size, open files", memory.limits),
    Check("hugepages", "pages of each size, free ones, NUMA nodes, cgroup limits", memory.hugepages),
    Check("hugetlbfs", "mounts and who may write them", memory.hugetlbfs),
    Check("capabilities", "/proc/self/status", permissions.capabilities),
    Check("memlock", "ulimit -l", permissions.memlock),
    Check("runtime", "the directory above those of the file prefixes", permissions.runtime),
    Check("modules", "vhost-net, tun, af_packet", permissions.modules),
    Check("tun", "/dev/net/tun", permissions.tun),
    Check("iommu", "/sys/kernel/iommu_groups, the kernel's command line", passthrough.iommu),
    Check("vfio", "module, groups in /dev/vfio, no-IOMMU mode", passthrough.vfio),
    Check("uio", "uio_pci_generic, igb_uio, /dev/uio*", passthrough.uio),
    Check("pci", "network devices on the PCI bus: drivers, IOMMU groups, rights", devices.pci),
    Check("interfaces", "the kernel's network interfaces", devices.interfaces),
    Check("leftovers", "runtime directories, hugepage files, sockets, shared memory", leftovers.leftovers),
    Check("processes", "other Pollmode and DPDK processes", processes.processes),
)


def examine(host: Host, checks: Iterable[Check] = CHECKS) -> Iterator[tuple[Check, Finding]]:
    """Yield what each check says. One that meets a file it cannot read as expected says so and stops no other."""
    for check in checks:
        try:
            findings = list(check.look(host))
        except (OSError, ValueError, IndexError) as error:
            told = f"this machine tells it in a way that is not known: {error}"
            findings = [yellow(told, "doctor --json, and report what it prints")]
        for finding in findings:
            yield check, finding
