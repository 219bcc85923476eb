# SPDX-License-Identifier: BSD-3-Clause
"""Every command-line option of DPDK's testpmd: what it means here, or what is lacking."""

from __future__ import annotations

from pollmode.eal.errors import ConfigError, UnsupportedError, nearest
from pollmode.eal.grammar import Option, integer
from pollmode.testpmd import values

__all__ = ["EXCLUSIONS", "OPTIONS", "RX_OFFLOAD_OPTIONS"]

MODES = ("io", "mac", "macswap", "flowgen", "rxonly", "txonly", "csum", "icmpecho", "5tswap")
MODES_TO_COME = ("noisy", "shared_rxq", "shared-rxq", "recycle_mbufs", "ieee1588", "tm")

_NUMA = "memory is not placed by NUMA node"
_POOLS = "there is one mbuf pool"
_SPLIT = "buffer split needs a driver that can do it"
_RSS = "testpmd does not ask drivers to spread packets by hash yet"
_HAIRPIN = "hairpin queues need a driver that has them"
_STATISTICS = "bit-rate and latency statistics are not part of this release"
_FLOW = "flow rules are not part of this release"
_NOISY = "forward mode noisy is not part of this release"

RX_OFFLOAD_OPTIONS = {
    "disable-crc-strip": ("KEEP_CRC",),
    "enable-scatter": ("SCATTER",),
    "enable-rx-cksum": ("IPV4_CKSUM", "UDP_CKSUM", "TCP_CKSUM"),
    "enable-rx-timestamp": ("TIMESTAMP",),
    "enable-hw-vlan": ("VLAN_STRIP", "VLAN_FILTER", "VLAN_EXTEND"),
    "enable-hw-vlan-filter": ("VLAN_FILTER",),
    "enable-hw-vlan-strip": ("VLAN_STRIP",),
    "enable-hw-vlan-extend": ("VLAN_EXTEND",),
    "enable-hw-qinq-strip": ("QINQ_STRIP",),
}
"""Receive offloads, by name in `ethdev.RxOffload`, that an option asks for."""


def _mode(text: str) -> str:
    name = text.replace("_", "-") if text.startswith("shared") else text
    if name in MODES_TO_COME:
        raise UnsupportedError(f"forward mode {text} is not supported yet; there are {', '.join(MODES)}")
    if text not in MODES:
        raise ConfigError(f"Invalid {text} packet forwarding mode{nearest(text, MODES)}; there are {', '.join(MODES)}")
    return text


def _pool_memory(text: str) -> str:
    if text not in ("native", "anon", "xmem", "xmemhuge"):
        raise ConfigError(f"mp-alloc {text} invalid - must be: native, anon, xmem or xmemhuge")
    if text != "native":
        raise UnsupportedError(f"--mp-alloc={text} is not supported yet: pools are in the EAL's memory (native)")
    return text


def _threshold(name: str, meaning: str) -> Option:
    return Option((f"--{name}",), "N", meaning, integer(name, 0, 65535, f"{name} must be >= 0 and <= 65535"))


def _lacks(names: str, value: str | None, lacking: str) -> Option:
    return Option(tuple(names.split()), value, "", lacking=lacking)


CONTROL = (
    Option(("-i", "--interactive"), None, "open the prompt; commands may also be piped"),
    Option(("--tui",), None, "show a full-screen dashboard while packets are forwarded"),
    Option(("--cmdline-file",), "FILE", "run the commands of a file first, showing them", repeat=True),
    Option(("--cmdline-file-noecho",), "FILE", "the same without showing them", repeat=True),
    Option(("-h", "--help"), None, "print this page and exit"),
    Option(("-a", "--auto-start"), None, "with -i: start forwarding before the prompt (always so without it)"),
    Option(
        ("--tx-first",),
        "BURSTS",
        "send a burst, or BURSTS of them, on every port before forwarding",
        integer("tx-first", 1, 65535, "tx-first must be >= 1 and <= 65535"),
        absent="1",
    ),
    Option(("--stats-period",), "SECONDS", "show statistics every SECONDS", values.stats_period),
    Option(("--display-xstats",), "NAME,...", "show these extended statistics too", values.names),
    Option(("--disable-device-start",), None, "leave the ports stopped until port start"),
    Option(("--disable-link-check",), None, "do not wait for links"),
    Option(("--no-lsc-interrupt",), None, "do not ask for link state interrupts"),
    Option(("--no-rmv-interrupt",), None, "do not ask for removal interrupts"),
    _lacks("--hot-plug", None, "devices do not come and go by themselves on the virtual bus"),
    Option(("--print-event",), "EVENT", "print this event, or all", values.event, repeat=True),
    Option(("--mask-event",), "EVENT", "do not print this event, or all", values.event, repeat=True),
)

CORES_AND_PORTS = (
    Option(("--nb-cores",), "N", "forwarding cores", integer("nb-cores", -(1 << 31), 1 << 31)),
    Option(("--nb-ports",), "N", "forwarding ports", integer("nb-ports", -(1 << 31), 1 << 31)),
    Option(("--coremask",), "MASK", "hexadecimal mask of forwarding cores", values.mask("Invalid fwd core mask")),
    Option(("--portmask",), "MASK", "hexadecimal mask of forwarding ports", values.mask("Invalid fwd port mask")),
    Option(("--portlist",), "LIST", "forwarding ports, such as 0,2-3", values.port_list),
    Option(("--numa",), None, "place memory by NUMA node (accepted: memory is on one node)"),
    Option(("--no-numa",), None, "do not place memory by NUMA node"),
    _lacks("--port-numa-config", "LIST", _NUMA),
    _lacks("--ring-numa-config", "LIST", _NUMA),
    _lacks("--socket-num", "N", _NUMA),
    Option(("--port-topology",), "NAME", "paired (0-1, 2-3), chained or loop", values.topology),
)

BUFFERS = (
    Option(("--mbuf-size",), "N", "bytes of buffer in an mbuf, headroom included (2176)", values.mbuf_size),
    Option(("--total-num-mbufs",), "N", "mbufs in the pool", values.total_mbufs),
    Option(
        ("--mbcache",), "N", "mbufs an lcore keeps (250)", integer("mbcache", 0, 512, "mbcache must be >= 0 and <= 512")
    ),
    Option(("--max-pkt-len",), "N", "longest frame (1518)", values.max_packet_length),
    _lacks("--max-lro-pkt-size", "N", "receive coalescing is not part of this release"),
    _lacks("--mlockall", None, "memory is not locked"),
    Option(("--no-mlockall",), None, "do not lock memory (it never is)"),
    Option(("--mp-alloc",), "NAME", "where pools are: native", _pool_memory),
    _lacks("--no-iova-contig", None, _POOLS),
)

PACKETS = (
    Option(("--forward-mode",), "MODE", f"one of {', '.join(MODES)} (io)", _mode),
    Option(("--eth-peer",), "PORT,MAC", "destination of what goes out of a port", values.eth_peer, repeat=True),
    Option(("--eth-peers-configfile",), "FILE", "destinations, one MAC a line, from port 0 on"),
    Option(("--tx-ip",), "SRC,DST", "addresses of txonly (198.18.0.1,198.18.0.2)", values.tx_ip),
    Option(("--tx-udp",), "SRC[,DST]", "UDP ports of txonly (9,9)", values.tx_udp),
    Option(("--txpkts",), "X[,Y]*", "lengths of a generated packet's segments (64)", values.segments("txpkts")),
    _lacks("--rxpkts", "X[,Y]*", _SPLIT),
    _lacks("--rxoffs", "X[,Y]*", _SPLIT),
    _lacks("--rxhdrs", "NAMES", _SPLIT),
    Option(("--txonly-multi-flow",), None, "vary the source address in txonly"),
    Option(
        ("--txonly-flows",),
        "N",
        "flows of --txonly-multi-flow (64)",
        integer("txonly-flows", 1, 64, "txonly-flows must be >= 1 and <= 64"),
    ),
    _lacks("--flowgen-clones", "N", "flowgen sends each packet once"),
    Option(
        ("--flowgen-flows",), "N", "flows of flowgen (1024)", integer("flows", 1, (1 << 31) - 1, "flows must be >= 1")
    ),
    _lacks("--multi-rx-mempool", None, _POOLS),
    Option(("--retry",), None, "offer what a port did not take again, 64 times 1 us apart"),
)

QUEUES = (
    Option(("--rxq",), "N", "receive queues of a port (1)", values.queues("rxq")),
    Option(("--txq",), "N", "transmit queues of a port (1)", values.queues("txq")),
    Option(("--rxd",), "N", "descriptors of a receive queue (the driver's choice)", values.descriptors("rxd")),
    Option(("--txd",), "N", "descriptors of a transmit queue (the driver's choice)", values.descriptors("txd")),
    _lacks("--hairpinq", "N", _HAIRPIN),
    _lacks("--hairpin-mode", "MASK", _HAIRPIN),
    Option(("--rxq-share",), "X", "", absent="0", lacking="no driver of this release shares receive queues"),
    Option(("--burst",), "N", "packets in a burst (32); 0 is the driver's choice", values.burst),
    _threshold("rxpt", "prefetch threshold of receive queues"),
    _threshold("rxht", "host threshold of receive queues"),
    _threshold("rxwt", "write-back threshold of receive queues"),
    _threshold("rxfreet", "free threshold of receive queues"),
    _threshold("txpt", "prefetch threshold of transmit queues"),
    _threshold("txht", "host threshold of transmit queues"),
    _threshold("txwt", "write-back threshold of transmit queues"),
    _threshold("txfreet", "free threshold of transmit queues"),
    _threshold("txrst", "report status threshold of transmit queues"),
    Option(("--no-flush-rx",), None, "keep what arrived before forwarding starts"),
    _lacks("--rx-mq-mode", "MASK", _RSS),
)

OFFLOADS = (
    *(Option((f"--{key}",), None, f"receive offload {' '.join(names)}") for key, names in RX_OFFLOAD_OPTIONS.items()),
    _lacks("--enable-lro", None, "receive coalescing is not part of this release"),
    Option(("--enable-drop-en",), None, "drop packets of a queue that has no descriptors"),
    _lacks("--enable-rss", None, _RSS),
    Option(("--disable-rss",), None, "do not spread by hash (the default so far)"),
    _lacks("--rss-ip", None, _RSS),
    _lacks("--rss-udp", None, _RSS),
    _lacks("--rss-level-inner", None, _RSS),
    _lacks("--rss-level-outer", None, _RSS),
    Option(("--tx-offloads",), "MASK", "transmit offloads, hexadecimal", values.mask("Invalid tx-offloads")),
    Option(("--rx-offloads",), "MASK", "receive offloads, hexadecimal", values.mask("Invalid rx-offloads")),
    _lacks("--eth-link-speed", "MBPS", "the ports' speeds are given by their device arguments"),
    _lacks("--vxlan-gpe-port", "N", "tunnels are not part of this release"),
    _lacks("--geneve-parsed-port", "N", "tunnels are not part of this release"),
)

DEBUGGING = (
    Option(("--record-core-cycles",), None, "count the cycles spent on packets"),
    Option(("--record-burst-stats",), None, "count bursts by size"),
    _lacks("--bitrate-stats", "CORE", _STATISTICS),
    _lacks("--latencystats", "CORE", _STATISTICS),
    _lacks("--flow-isolate-all", None, _FLOW),
    _lacks("--disable-flow-flush", None, _FLOW),
    *(
        _lacks(f"--noisy-{key}", "N", _NOISY)
        for key in (
            "tx-sw-buffer-size",
            "tx-sw-buffer-flushtime",
            "lkup-memory",
            "lkup-num-writes",
            "lkup-num-reads",
            "lkup-num-reads-writes",
            "forward-mode",
        )
    ),
    Option(("--num-procs",), "N", "processes that share the queues, this one's too (1)", integer("num-procs", 1, 128)),
    Option(("--proc-id",), "I", "which of them this one is, from 0 (0)", integer("proc-id", 0, 127)),
)

OPTIONS = (*CONTROL, *CORES_AND_PORTS, *BUFFERS, *PACKETS, *QUEUES, *OFFLOADS, *DEBUGGING)

EXCLUSIONS = (
    ("portmask", "portlist"),
    ("numa", "no-numa"),
    ("coremask", "nb-cores"),
    ("tui", "interactive"),
    ("tui", "stats-period"),
    ("tui", "display-xstats"),
    ("eth-peer", "eth-peers-configfile"),
)
"""Keys that ask for two different things at once."""
