# SPDX-License-Identifier: BSD-3-Clause
"""Every option of DPDK's EAL: what it means here, or what is lacking, and which ones exclude each other."""

from __future__ import annotations

from pollmode.eal.coremap import MAX_LCORE, parse_coremap, parse_coremask
from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.eal.grammar import Option, hexadecimal, integer, one_of
from pollmode.eal.logs import LevelRule

__all__ = ["EXCLUSIONS", "OPTIONS", "RENAMED"]

MAX_MEGABYTES = 1 << 24
_ALIGN = 16 << 20  # DPDK aligns --base-virtaddr down to 16 MiB

_SERVICE = "service cores are not part of this release"
_NUMA = "memory is not placed by NUMA node"
_TRACE = "trace points are not part of this release"
_PAGES = "memory is reserved once, at the start, in pages of one size"


def _base_address(text: str) -> int:
    address = hexadecimal("--base-virtaddr", "invalid parameter")(text)
    assert isinstance(address, int)
    if address >= 1 << 47:
        raise ConfigError(f"invalid parameter: --base-virtaddr is {text}, it must be below 0x800000000000")
    return address // _ALIGN * _ALIGN


def _file_prefix(text: str) -> str:
    if "%" in text or "/" in text:
        raise ConfigError(f"--file-prefix: {text!r} must not contain '%' or '/'")
    return text


def _node_memory(text: str) -> int:
    sizes = [integer("--numa-mem", 0, MAX_MEGABYTES)(size) for size in text.split(",")]
    if any(sizes[1:]):
        raise UnsupportedError(f"--numa-mem={text} is not supported yet: {_NUMA}; give one size for node 0")
    assert isinstance(sizes[0], int)
    return sizes[0]


def _process_type(text: str) -> str:
    return str(one_of("--proc-type", ("primary", "secondary", "auto"), "invalid process type:")(text))


def _pool_ops(text: str) -> str:
    if text != "ring_mp_mc":
        raise UnsupportedError(f"--mbuf-pool-ops-name={text} is not supported yet: pools are ring_mp_mc")
    return text


def _pci_host(text: str) -> str:
    if text != "kernel" and not text.startswith("qemu:"):
        raise ConfigError(f"--pci-host: {text!r} must be kernel or begin with qemu: (qemu:device=vmxnet3,netdev=...)")
    return text


OPTIONS = (
    Option(("-a", "--allow"), "DEVICE", "use this device; may repeat", repeat=True),
    Option(("-b", "--block"), "DEVICE", "do not use this device; may repeat", repeat=True),
    Option(("-A", "--no-auto-probing"), None, "use only devices that are named"),
    Option(("--auto-probing",), None, "use every device found that a driver knows (default)"),
    Option(("--base-virtaddr",), "ADDRESS", "map memory at this hexadecimal address", _base_address),
    Option(("-c", "--coremask"), "MASK", "hexadecimal mask of cores to run on", parse_coremask),
    Option(("-l", "--lcores"), "LIST", "cores to run on: 0-3,8 or (0,1)@2 or (0-2)@(4-6)", parse_coremap),
    Option(
        ("-R", "--remap-lcore-ids"),
        "FIRST",
        "number the lcores from FIRST (0) on",
        integer("--remap-lcore-ids", 0, MAX_LCORE - 1),
        absent="0",
    ),
    Option(("--main-lcore",), "ID", "the main lcore (default: the first)", integer("--main-lcore", 0, MAX_LCORE - 1)),
    Option(("-s", "--service-coremask"), "MASK", "cores for services", lacking=_SERVICE),
    Option(("-S", "--service-corelist"), "LIST", "cores for services", lacking=_SERVICE),
    Option(
        ("-n", "--memory-channels"),
        "CHANNELS",
        "number of memory channels",
        integer("--memory-channels", 1, 256, "invalid memory channel parameter: it must be 1 to 256"),
    ),
    Option(
        ("-r", "--memory-ranks"),
        "RANKS",
        "number of memory ranks",
        integer("--memory-ranks", 1, 16, "invalid rank parameter: it must be 1 to 16"),
    ),
    Option(("-m", "--memory-size"), "MB", "memory to reserve", integer("--memory-size", 1, MAX_MEGABYTES)),
    Option(("--numa-mem", "--socket-mem"), "MB", "memory to reserve on NUMA node 0", _node_memory),
    Option(("--numa-limit", "--socket-limit"), "MB,...", "most memory by NUMA node", lacking=_NUMA),
    Option(("--no-huge",), None, "use ordinary memory, not hugepages"),
    Option(("--in-memory",), None, "leave no files behind: no shared configuration, unlinked memory"),
    Option(("--huge-dir",), "DIR", "the hugetlbfs mount to use"),
    Option(
        ("--huge-unlink",),
        "WHEN",
        "unlink files in hugetlbfs: existing, always (no value) or never",
        one_of("--huge-unlink", ("existing", "always", "never")),
        absent="always",
    ),
    Option(("--single-file-segments",), None, "put all hugepage memory into one file"),
    Option(("--match-allocations",), None, "free hugepages as they were allocated", lacking=_PAGES),
    Option(("--legacy-mem",), None, "contiguous physical memory", lacking=_PAGES),
    Option(("--pagesz-mem",), "SIZE:LIMIT", "most memory by page size", lacking=_PAGES, repeat=True),
    Option(("--huge-worker-stack",), "KB", "stacks in hugepages", absent="0", lacking="stacks are the system's"),
    Option(
        ("--iova-mode",), "MODE", "bus addresses: pa or va", one_of("--iova-mode", ("pa", "va"), "Invalid IOVA mode")
    ),
    Option(
        ("--force-max-simd-bitwidth",),
        "BITS",
        "widest vectors",
        lacking="compiled code uses the vectors of this machine; set NUMBA_CPU_FEATURES to change that",
    ),
    Option(("--file-prefix",), "PREFIX", "names this process's files and lock (default: rte)", _file_prefix),
    Option(("--proc-type",), "TYPE", "primary, secondary (use the primary's ports) or auto (what fits)", _process_type),
    Option(("--no-pci",), None, "do not look for PCI devices"),
    Option(
        ("--pci-host",),
        "HOST",
        "who has the PCI devices: kernel (default), or qemu:device=MODEL,netdev=... for each one",
        _pci_host,
        repeat=True,
    ),
    Option(("--no-hpet",), None, "do not use the HPET (it is never used)"),
    Option(("--no-shconf",), None, "no shared configuration files"),
    Option(("--vdev",), "NAME,KEY=VALUE", "make a virtual device; may repeat", repeat=True),
    Option(("-d", "--driver-path"), "PATH", "load drivers", repeat=True, lacking="drivers are installed packages"),
    Option(("--mbuf-pool-ops-name",), "NAME", "kind of mbuf pool: ring_mp_mc", _pool_ops),
    Option(
        ("--log-level",),
        "[TYPE:]LEVEL",
        "level of all log types, of those a glob matches, or REGEX,LEVEL; 'help' lists them",
        LevelRule.parse,
        repeat=True,
    ),
    Option(
        ("--log-color",),
        "WHEN",
        "always (no value), never or auto",
        one_of("--log-color", ("always", "never", "auto")),
        absent="always",
    ),
    Option(
        ("--log-timestamp",),
        "FORM",
        "reltime (no value), delta, ctime or iso",
        one_of("--log-timestamp", ("reltime", "delta", "ctime", "iso")),
        absent="reltime",
    ),
    Option(("--syslog",), "FACILITY", "log to syslog", absent="daemon", lacking="logs go to standard error"),
    Option(("--telemetry",), None, "serve telemetry, or do not start (default: serve it where that is possible)"),
    Option(("--no-telemetry",), None, "serve no telemetry"),
    Option(
        ("--vfio-intr",), "MODE", "VFIO interrupts", lacking="they are MSI-X, MSI or INTx, what the device has first"
    ),
    Option(("--vfio-vf-token",), "UUID", "VFIO token", lacking="virtual functions with tokens cannot be opened"),
    Option(("--create-uio-dev",), None, "make /dev/uioX", lacking="udev or devtmpfs makes it"),
    Option(("--vmware-tsc-map",), None, "VMware's clock", lacking="the cycle counter is the processor's own"),
    Option(("--trace",), "REGEX", "enable trace points", repeat=True, lacking=_TRACE),
    Option(("--trace-dir",), "DIR", "where traces go", lacking=_TRACE),
    Option(("--trace-bufsz",), "SIZE", "trace buffer", lacking=_TRACE),
    Option(("--trace-mode",), "MODE", "overwrite or discard", lacking=_TRACE),
    Option(("-v", "--version"), None, "print the version and exit"),
    Option(("-h", "--help"), None, "print this page and exit"),
)

EXCLUSIONS = (
    ("allow", "block"),
    ("block", "no-auto-probing"),
    ("no-auto-probing", "auto-probing"),
    ("coremask", "lcores"),
    ("memory-size", "numa-mem"),
    ("no-huge", "numa-mem"),
    ("no-huge", "huge-unlink"),
    ("no-huge", "single-file-segments"),
    ("in-memory", "huge-unlink"),
    ("telemetry", "no-telemetry"),
    ("no-pci", "pci-host"),
)
"""Keys that cannot be used at the same time, as in DPDK; --pci-host is our own."""

RENAMED = {
    "-w": "-a (--allow)",
    "--pci-whitelist": "-a (--allow)",
    "--pci-blacklist": "-b (--block)",
    "--master-lcore": "--main-lcore",
    "--use-device": "-a (--allow)",
    "--lcore-map": "--lcores",
}
"""Options of earlier DPDK releases and what they are called now."""
