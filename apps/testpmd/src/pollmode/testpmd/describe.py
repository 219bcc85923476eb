# SPDX-License-Identifier: BSD-3-Clause
"""What is told about ports, devices and queues: show port info, summary, show device info, show rxq info."""

from __future__ import annotations

from collections.abc import Iterable

from pollmode.ethdev import DeviceCapability, DeviceInfo, Port, RxOffload
from pollmode.testpmd.report import mac_text

__all__ = ["device_info", "port_info", "port_summary", "port_summary_header", "rx_queue_info", "tx_queue_info"]

BORDER = "*" * 21
UNLIMITED = 65535

# Flow types by bit (RTE_ETH_RSS_*), in the order and with the names that testpmd prints.
RSS_TYPES = {
    2: "ipv4",
    3: "ipv4-frag",
    4: "ipv4-tcp",
    5: "ipv4-udp",
    6: "ipv4-sctp",
    7: "ipv4-other",
    8: "ipv6",
    9: "ipv6-frag",
    10: "ipv6-tcp",
    11: "ipv6-udp",
    12: "ipv6-sctp",
    13: "ipv6-other",
    14: "l2-payload",
    15: "ipv6-ex",
    16: "ipv6-tcp-ex",
    17: "ipv6-udp-ex",
    18: "port",
    19: "vxlan",
    20: "geneve",
    21: "nvgre",
    23: "gtpu",
    24: "eth",
    25: "s-vlan",
    26: "c-vlan",
    27: "esp",
    28: "ah",
    29: "l2tpv3",
    30: "pfcp",
    31: "pppoe",
    32: "ecpri",
    33: "mpls",
    34: "ipv4-chksum",
    35: "l4-chksum",
    36: "l2tpv2",
    52: "l3-pre96",
    53: "l3-pre64",
    54: "l3-pre56",
    55: "l3-pre48",
    56: "l3-pre40",
    57: "l3-pre32",
    58: "l2-dst-only",
    59: "l2-src-only",
    60: "l4-dst-only",
    61: "l4-src-only",
    62: "l3-dst-only",
    63: "l3-src-only",
}
RSS_LINE = 64
"""Characters of a line of flow types."""


def on_off(enabled: bool) -> str:
    """Return on or off."""
    return "on" if enabled else "off"


def port_info(port: Port) -> str:
    """Return everything about a port ("show port info")."""
    info, link = port.info(), port.link()
    devargs = port.device.devargs
    arguments = devargs.text.partition(",")[2] if devargs is not None else ""
    lines = [
        "",
        f"{BORDER} Infos for port {port.id:<2} {BORDER}",
        f"MAC address: {mac_text(port.mac)}",
        f"Device name: {port.name}",
        f"Driver name: {port.device.driver_name}",
        f"Firmware-version: {info.firmware_version or 'not available'}",
        f"Devargs: {arguments}",
        f"Connect to socket: {info.socket}",
        f"memory allocation on the socket: {info.socket}",
        f"Link status: {'up' if link.up else 'down'}",
        f"Link speed: {link.speed_text}",
        f"Link duplex: {'full-duplex' if link.full_duplex else 'half-duplex'}",
        f"Autoneg status: {'On' if link.autoneg else 'Off'}",
        f"MTU: {port.mtu}",
        f"Promiscuous mode: {'enabled' if port.promiscuous else 'disabled'}",
        f"Allmulticast mode: {'enabled' if port.allmulticast else 'disabled'}",
        f"Maximum number of MAC addresses: {info.max_mac_addrs}",
        f"Maximum number of MAC addresses of hash filtering: {info.max_hash_mac_addrs}",
        "VLAN offload: ",
        _vlan_line(port.config.rx_offloads),
        *_rss_lines(info),
        f"Minimum size of RX buffer: {info.min_rx_bufsize}",
        f"Maximum configurable length of RX packet: {info.max_rx_pktlen}",
        f"Maximum configurable size of LRO aggregated packet: {info.max_lro_pkt_size}",
    ]
    if info.max_vfs:
        lines.append(f"Maximum number of VFs: {info.max_vfs}")
    if info.max_vmdq_pools:
        lines.append(f"Maximum number of VMDq pools: {info.max_vmdq_pools}")
    return "\n".join(lines + _queue_lines(port, info) + _device_lines(info))


def _vlan_line(offloads: int) -> str:
    names = (
        ("strip", "VLAN_STRIP"),
        ("filter", "VLAN_FILTER"),
        ("extend", "VLAN_EXTEND"),
        ("qinq strip", "QINQ_STRIP"),
    )
    return "  " + ", ".join(f"{text} {on_off(bool(offloads & RxOffload[name]))}" for text, name in names)


def _rss_lines(info: DeviceInfo) -> list[str]:
    lines = []
    if info.hash_key_size:
        lines.append(f"Hash key size in bytes: {info.hash_key_size}")
    if info.reta_size:
        lines.append(f"Redirection table size: {info.reta_size}")
    if not info.flow_type_rss_offloads:
        return [*lines, "No RSS offload flow type is supported."]
    return [*lines, "Supported RSS offload flow types:", *rss_types(info.flow_type_rss_offloads)]


def rss_types(word: int) -> list[str]:
    """Return the names of flow types in lines of 64 characters."""
    lines, line = [], "  "
    for bit in range(word.bit_length()):
        if not word >> bit & 1:
            continue
        name = RSS_TYPES.get(bit, f"unknown_{bit}(BIT({bit}))")
        if len(line) + len(name) > RSS_LINE:
            lines.append(line.rstrip())
            line = "  "
        line += name + "  "
    return [*lines, line.rstrip()] if line.strip() else lines


def _queue_lines(port: Port, info: DeviceInfo) -> list[str]:
    lines = []
    for way, now, most, limits in (
        ("RX", port.rx_queues, info.max_rx_queues, info.rx_desc_lim),
        ("TX", port.tx_queues, info.max_tx_queues, info.tx_desc_lim),
    ):
        lines += [
            f"Current number of {way} queues: {now}",
            f"Max possible {way} queues: {most}",
            f"Max possible number of {way}Ds per queue: {limits.maximum or UNLIMITED}",
            f"Min possible number of {way}Ds per queue: {limits.minimum}",
            f"{way}Ds number alignment: {limits.align}",
        ]
    tx = info.tx_desc_lim
    return [
        *lines,
        f"Max segment number per packet: {tx.segments_max}",
        f"Max segment number per MTU/TSO: {tx.mtu_segments_max}",
    ]


def _device_lines(info: DeviceInfo) -> list[str]:
    names = "".join(f" {flag.name}" for flag in DeviceCapability if info.dev_capa & flag)
    lines = [
        f"Device capabilities: {info.dev_capa:#x}({names} )",
        f"Device error handling mode: {info.err_handle_mode}",
    ]
    if info.private_info:
        lines.append("Device private info:")
        lines += [f"  {name}: {value}" for name, value in info.private_info.items()]
    return lines


def port_summary_header(count: int) -> str:
    """Return what stands above the summaries of ports."""
    head = f"{'Port':<4} {'MAC Address':<17} {'Name':<12} {'Driver':<14} {'Status':<8} Link"
    return f"Number of available ports: {count}\n{head}"


def port_summary(port: Port) -> str:
    """Return the line of a port in "show port summary"."""
    link, driver = port.link(), port.device.driver_name
    status = "up" if link.up else "down"
    return f"{port.id:<4} {mac_text(port.mac)} {port.name:<12} {driver:<14} {status:<8} {link.speed_text}"


def device_info(port: Port) -> str:
    """Return what "show device info" tells about a port's device."""
    devargs = port.device.devargs
    info = port.info()
    speeds = "".join(f" {_speed(speed)}  " for speed in info.speed_capa) or " Autonegotiate (all speeds)"
    return "\n".join(
        [
            "",
            f"{BORDER} Infos for device {port.name} {BORDER}",
            f"Bus name: {devargs.bus if devargs is not None else ''}",
            "Bus information: ",
            f"Driver name: {port.device.driver_name}",
            f"Devargs: {devargs.text.partition(',')[2] if devargs is not None else ''}",
            f"Connect to socket: {info.socket}",
            "",
            f"\tPort id: {port.id:<2}",
            f"\tMAC address: {mac_text(port.mac)}",
            f"\tDevice name: {port.name}",
            f"\tDevice speed capability:{speeds}",
        ]
    )


def _speed(megabits: int) -> str:
    return f"{megabits / 1000:g} Gbps" if megabits >= 1000 else f"{megabits} Mbps full-duplex"


def _queue_head(port: Port, way: str, queue: int) -> list[str]:
    return ["", f"{BORDER} Infos for port {port.id:<2}, {way} queue {queue:<2} {BORDER}"]


def rx_queue_info(port: Port, queue: int) -> str:
    """Return how a receive queue was set up. Raises ConfigError when it was not."""
    made = port.queue_info("rx", queue)
    config = made.config
    return _joined(
        _queue_head(port, "RX", queue),
        f"Mempool: {made.pool.name if made.pool is not None else 'NULL'}",
        f"RX prefetch threshold: {config.pthresh}",
        f"RX host threshold: {config.hthresh}",
        f"RX writeback threshold: {config.wthresh}",
        f"RX free threshold: {config.free_threshold}",
        f"RX drop packets: {on_off(config.drop)}",
        f"RX deferred start: {on_off(config.deferred_start)}",
        f"RX scattered packets: {on_off(bool(port.config.rx_offloads & RxOffload.SCATTER))}",
        f"Rx queue state: {_state(port, 'rx', queue)}",
        f"Number of RXDs: {made.descriptors}",
    )


def tx_queue_info(port: Port, queue: int) -> str:
    """Return how a transmit queue was set up. Raises ConfigError when it was not."""
    made = port.queue_info("tx", queue)
    config = made.config
    return _joined(
        _queue_head(port, "TX", queue),
        f"TX prefetch threshold: {config.pthresh}",
        f"TX host threshold: {config.hthresh}",
        f"TX writeback threshold: {config.wthresh}",
        f"TX RS threshold: {config.rs_threshold}",
        f"TX free threshold: {config.free_threshold}",
        f"TX deferred start: {on_off(config.deferred_start)}",
        f"Number of TXDs: {made.descriptors}",
        f"Tx queue state: {_state(port, 'tx', queue)}",
    )


def _state(port: Port, way: str, queue: int) -> str:
    return "started" if port.queue_running(way, queue) else "stopped"


def _joined(head: Iterable[str], *lines: str) -> str:
    return "\n".join([*head, *lines])
