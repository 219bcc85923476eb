# SPDX-License-Identifier: BSD-3-Clause
"""The /ethdev commands of telemetry, with DPDK's names, keys and helps.

They run in the interrupt thread beside whatever the control plane does, and only read. A port that is detached in the
middle is answered as one that is not there: with null.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pollmode.eal.errors import ConfigError, UnsupportedError

from .offloads import RxOffload, TxOffload, offload_names
from .port import Port, State

if TYPE_CHECKING:
    from pollmode.eal.telemetry import Telemetry

    from .ports import Ports

__all__ = ["register"]

_STATE_ATTACHED: Final = 1  # RTE_ETH_DEV_ATTACHED
_FLAG_LSC, _FLAG_RMV, _FLAG_QUEUE_XSTATS = 0x02, 0x08, 0x40  # RTE_ETH_DEV_INTR_LSC, _INTR_RMV, _AUTOFILL_QUEUE_XSTATS
_QUEUE_COUNTERS: Final = 16  # RTE_ETHDEV_QUEUE_STAT_CNTRS
_NO_BUFFER: Final = 0xFFFFFFFF  # min_rx_buf_size while no receive queue is set up
_RSS_KEY_BYTES: Final = 63  # of a key two digits each, in a string of 127

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")


def register(telemetry: Telemetry, ports: Ports) -> None:
    """Have telemetry tell about `ports`."""
    told = _Commands(ports)
    one = "Parameters: int port_id"
    queue = f"{one}, int queue_id (Optional if only one queue)"
    hide = f"{one},hide_zero=true|false(Optional for indicates hide zero xstats)"
    for name, command, text in (
        ("list", told.numbers, "Returns list of available ethdev ports. Takes no parameters"),
        ("stats", told.stats, f"Returns the common stats for a port. {one}"),
        ("xstats", told.xstats, f"Returns the extended stats for a port. {hide}"),
        ("dump_priv", told.dump_priv, f"Returns dump private information for a port. {one}"),
        ("link_status", told.link_status, f"Returns the link status for a port. {one}"),
        ("info", told.info, f"Returns the device info for a port. {one}"),
        ("macs", told.macs, f"Returns the MAC addresses for a port. {one}"),
        ("rx_queue", told.rx_queue, f"Returns Rx queue info for a port. {queue}"),
        ("tx_queue", told.tx_queue, f"Returns Tx queue info for a port. {queue}"),
        ("rss_info", told.rss_info, f"Returns RSS info for a port. {one}"),
        ("vlan", told.vlan, f"Returns VLAN info for a port. {one}"),
    ):
        telemetry.register(f"/ethdev/{name}", command, text)


class _Commands:
    """The commands about one table of ports."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def numbers(self, _: str | None) -> list[int]:
        return [port.id for port in self._ports.available()]

    def stats(self, parameters: str | None) -> dict[str, object]:
        stats = self._port(parameters)[0].stats()
        names = ("ipackets", "opackets", "ibytes", "obytes", "imissed", "ierrors", "oerrors", "rx_nombuf")
        queues = ("q_ipackets", "q_opackets", "q_ibytes", "q_obytes", "q_errors")
        return {name: getattr(stats, name) for name in names} | {
            name: _sixteen(getattr(stats, name)) for name in queues
        }

    def xstats(self, parameters: str | None) -> dict[str, int]:
        port, rest = self._port(parameters)
        hide_zero = "hide_zero=true" in rest.split(",")
        return {name: value for name, value in port.xstats().items() if value or not hide_zero}

    def dump_priv(self, parameters: str | None) -> str | None:
        private = self._port(parameters)[0].info().private_info
        return "".join(f"{name}: {value}\n" for name, value in private.items()) or None

    def link_status(self, parameters: str | None) -> dict[str, object]:
        link = self._port(parameters)[0].link()
        if not link.up:
            return {"status": "DOWN"}
        return {
            "status": "UP",
            "speed": link.speed,
            "duplex": "full-duplex" if link.full_duplex else "half-duplex",
        }

    def info(self, parameters: str | None) -> dict[str, object]:
        port = self._port(parameters)[0]
        device, config = port.info(), port.config
        firmware = {"fw_version": device.firmware_version} if device.firmware_version is not None else {}
        flags = _FLAG_QUEUE_XSTATS | (_FLAG_LSC if device.lsc else 0) | (_FLAG_RMV if device.rmv else 0)
        return {
            "name": port.name,
            **firmware,
            "state": _STATE_ATTACHED,
            "nb_rx_queues": port.rx_queues,
            "nb_tx_queues": port.tx_queues,
            "port_id": port.id,
            "mtu": port.mtu,
            "rx_mbuf_size_min": _smallest_buffer(port),
            "mac_addr": _mac(port.mac),
            "promiscuous": port.promiscuous,
            "scattered_rx": bool(config.rx_offloads & RxOffload.SCATTER),
            "all_multicast": port.allmulticast,
            "dev_started": port.state is State.STARTED,
            "lro": bool(config.rx_offloads & RxOffload.TCP_LRO),
            "dev_configured": port.state is not State.ATTACHED,
            "rxq_state": [port.queue_running("rx", queue) for queue in range(port.rx_queues)],
            "txq_state": [port.queue_running("tx", queue) for queue in range(port.tx_queues)],
            "numa_node": device.socket,
            "dev_flags": hex(flags),
            "rx_offloads": offload_names(RxOffload, int(config.rx_offloads)),
            "tx_offloads": offload_names(TxOffload, int(config.tx_offloads)),
            "ethdev_rss_hf": hex(config.rss_hf),
        }

    def macs(self, parameters: str | None) -> list[str]:
        return [_mac(mac) for mac in self._port(parameters)[0].macs]

    def rx_queue(self, parameters: str | None) -> dict[str, object]:
        port, queue = self._queue(parameters, "rx")
        how = port.queue_info("rx", queue)
        config = how.config
        assert how.pool is not None
        return {
            "mempool_name": how.pool.name,
            "socket_id": 0,
            "host_threshold": config.hthresh,
            "prefetch_threshold": config.pthresh,
            "writeback_threshold": config.wthresh,
            "free_threshold": config.free_threshold,
            "rx_drop_en": _switch(config.drop),
            "deferred_start": _switch(config.deferred_start),
            "rx_nseg": 0,
            "share_group": 0,
            "share_qid": 0,
            "offloads": offload_names(RxOffload, int(port.config.rx_offloads | config.offloads)),
            "rx_nmempool": 0,
            "scattered_rx": _switch(bool(port.config.rx_offloads & RxOffload.SCATTER)),
            "queue_state": port.queue_running("rx", queue),
            "nb_desc": how.descriptors,
            "rx_buf_size": how.pool.data_room,
            "avail_thresh": 0,
        }

    def tx_queue(self, parameters: str | None) -> dict[str, object]:
        port, queue = self._queue(parameters, "tx")
        how = port.queue_info("tx", queue)
        config = how.config
        return {
            "host_threshold": config.hthresh,
            "prefetch_threshold": config.pthresh,
            "writeback_threshold": config.wthresh,
            "rs_threshold": config.rs_threshold,
            "free_threshold": config.free_threshold,
            "deferred_start": _switch(config.deferred_start),
            "offloads": offload_names(TxOffload, int(port.config.tx_offloads | config.offloads)),
            "queue_state": port.queue_running("tx", queue),
            "nb_desc": how.descriptors,
        }

    def rss_info(self, parameters: str | None) -> dict[str, object]:
        port = self._port(parameters)[0]
        if not port.info().flow_type_rss_offloads:
            raise UnsupportedError(f"port {port.id} ({port.name}) spreads no packets by their hash")
        key = port.config.rss_key or b""
        return {
            "rss_hf": hex(port.config.rss_hf),
            "rss_key_len": len(key),
            "rss_key": key[:_RSS_KEY_BYTES].hex(),
            "algorithm": "default",
        }

    def vlan(self, parameters: str | None) -> dict[str, object]:
        offloads = self._port(parameters)[0].config.rx_offloads
        switches = {
            name: _switch(bool(offloads & RxOffload[name]))
            for name in ("VLAN_STRIP", "VLAN_EXTEND", "QINQ_STRIP", "VLAN_FILTER")
        }
        inserted = ("pvid", "hw_vlan_reject_tagged", "hw_vlan_reject_untagged", "hw_vlan_insert_pvid")
        return dict.fromkeys(inserted, 0) | switches | {"vlan_num": 0, "vlan_ids": {}}

    def _port(self, parameters: str | None) -> tuple[Port, str]:
        """Return the port that the parameters begin with, and what is behind it. Raises ConfigError."""
        number, rest = _number(parameters or "")
        port = self._ports[number]
        if port.state is State.CLOSED:
            raise ConfigError(f"port {number} is closed")
        return port, rest

    def _queue(self, parameters: str | None, direction: str) -> tuple[Port, int]:
        """Return a port and the number of one of its queues: it may be left out when there is only one."""
        port, rest = self._port(parameters)
        count = port.rx_queues if direction == "rx" else port.tx_queues
        if count == 1 and not rest:
            return port, 0
        return port, _number(rest.lstrip(","))[0]


def _number(text: str) -> tuple[int, str]:
    """Return the number that a text begins with, as C's strtoul reads it, and the rest. Raises ConfigError."""
    found = _NUMBER.match(text)
    if not found:
        raise ConfigError(f"a number is wanted, not {text!r}")
    digits, rest = found[0], text[found.end() :]
    if digits[:2] in ("0x", "0X"):
        return int(digits, 16), rest
    return int(digits, 8 if digits[0] == "0" else 10), rest


def _smallest_buffer(port: Port) -> int:
    sizes = []
    for queue in range(port.rx_queues):
        try:
            pool = port.queue_info("rx", queue).pool
        except ConfigError:  # not set up yet
            continue
        sizes.append(pool.data_room if pool else _NO_BUFFER)
    return min(sizes, default=_NO_BUFFER)


def _sixteen(counters: Sequence[int]) -> list[int]:
    return [*counters, *[0] * _QUEUE_COUNTERS][:_QUEUE_COUNTERS]


def _mac(address: bytes) -> str:
    return address.hex(":").upper()


def _switch(on: bool) -> str:
    return "on" if on else "off"
