# SPDX-License-Identifier: BSD-3-Clause
"""What telemetry tells about ports, in every state of a port and while ports come and go."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pollmode.eal.environment import Environment
from pollmode.ethdev import DeviceInfo, Link, Port, PortConfig, Ports, QueueConfig, RxOffload, Stats, TxOffload
from pollmode.ethdev.testing import ModelDevice
from pollmode.mbuf import Mempool

Ask = Callable[[str], Any]

COMMANDS = ["stats", "xstats", "link_status", "info", "macs", "rx_queue", "tx_queue", "rss_info", "vlan", "dump_priv"]


@pytest.fixture
def ask(environment: Environment) -> Ask:
    def answer(request: str) -> Any:
        (value,) = json.loads(environment.telemetry.answer(request.encode())).values()
        return value

    return answer


def test_commands_of_pools_rings_and_ports_are_there(ports: Ports, ask: Ask) -> None:
    listed = ask("/")
    assert {f"/ethdev/{name}" for name in (*COMMANDS, "list")} <= set(listed)
    assert {"/mempool/list", "/mempool/info", "/ring/list", "/ring/info"} <= set(listed)


def test_ports_are_listed_until_they_are_closed(ports: Ports, ask: Ask) -> None:
    first, second = (ports.add(ModelDevice(name)) for name in ("a", "b"))
    assert ask("/ethdev/list") == [0, 1]
    first.close()
    assert ask("/ethdev/list") == [1]
    assert ask("/ethdev/info,0") is None
    ports.remove(second)
    assert ask("/ethdev/list") == []


def test_statistics_are_the_ports(started: Port, device: ModelDevice, ask: Ask) -> None:
    device.counted = Stats(ipackets=7, opackets=5, ibytes=700, imissed=1, q_ipackets=(3, 4))
    told = ask("/ethdev/stats,0")
    plain = {"ipackets": 7, "opackets": 5, "ibytes": 700, "obytes": 0, "imissed": 1, "ierrors": 0, "oerrors": 0}
    assert plain.items() <= told.items()
    assert told["rx_nombuf"] == 0
    assert told["q_ipackets"] == [3, 4] + [0] * 14
    assert [len(told[name]) for name in ("q_opackets", "q_ibytes", "q_obytes", "q_errors")] == [16] * 4


def test_zeros_are_hidden_on_request(started: Port, device: ModelDevice, ask: Ask) -> None:
    device.counted = Stats(ipackets=7)
    device.own_xstats = {"rx_q0_size_64_packets": 9, "rx_q0_size_65_packets": 0}
    everything = ask("/ethdev/xstats,0")
    assert everything == started.xstats()
    assert ask("/ethdev/xstats,0,hide_zero=true") == {"rx_good_packets": 7, "rx_q0_size_64_packets": 9}
    for other in ("hide_zero=false", "hide_zero=1", "hide_zero", "x=true", ""):
        assert ask(f"/ethdev/xstats,0,{other}") == everything


def test_the_link_is_told(port: Port, device: ModelDevice, ask: Ask) -> None:
    assert ask("/ethdev/link_status,0") == {"status": "UP", "speed": 10000, "duplex": "full-duplex"}
    device.present_link = Link(up=True, speed=100, full_duplex=False)
    assert ask("/ethdev/link_status,0")["duplex"] == "half-duplex"
    device.present_link = Link(up=False)
    assert ask("/ethdev/link_status,0") == {"status": "DOWN"}


def test_info_follows_the_life_of_a_port(port: Port, device: ModelDevice, pool: Mempool, ask: Ask) -> None:
    def states(told: dict[str, Any]) -> list[Any]:
        return [told[key] for key in ("dev_configured", "dev_started", "rxq_state", "txq_state", "rx_mbuf_size_min")]

    assert states(ask("/ethdev/info,0")) == [0, 0, [], [], 0xFFFFFFFF]
    device.capabilities = replace(device.capabilities, rx_offload_capa=1 << 13, lsc=True, firmware_version="1.2")
    port.configure(2, 1, PortConfig(rx_offloads=RxOffload.SCATTER))
    assert states(ask("/ethdev/info,0")) == [1, 0, [0, 0], [0], 0xFFFFFFFF]
    port.setup_rx_queue(0, 0, pool)
    port.setup_rx_queue(1, 0, pool, QueueConfig(deferred_start=True))
    port.setup_tx_queue(0, 0)
    port.start()
    told = ask("/ethdev/info,0")
    assert states(told) == [1, 1, [1, 0], [1], 2176]
    assert {"name": "model0", "fw_version": "1.2", "state": 1, "mtu": 1500}.items() <= told.items()
    assert (told["mac_addr"], told["dev_flags"], told["ethdev_rss_hf"]) == ("02:00:00:00:00:01", "0x42", "0x0")
    assert (told["scattered_rx"], told["rx_offloads"], told["tx_offloads"]) == (1, ["SCATTER"], [])
    port.stop()
    assert states(ask("/ethdev/info,0")) == [1, 0, [0, 0], [0], 2176]


def test_queues_are_told(port: Port, device: ModelDevice, pool: Mempool, ask: Ask) -> None:
    capability = int(TxOffload.MULTI_SEGS)
    device.capabilities = replace(device.capabilities, tx_offload_capa=capability, tx_queue_offload_capa=capability)
    port.configure(2, 1)
    assert ask("/ethdev/tx_queue,0") is None
    port.setup_rx_queue(1, 128, pool, QueueConfig(drop=True, free_threshold=32))
    port.setup_tx_queue(0, 256, QueueConfig(offloads=capability, rs_threshold=8))
    received = ask("/ethdev/rx_queue,0,1")
    assert {
        "mempool_name": "pool",
        "nb_desc": 128,
        "rx_drop_en": "on",
        "free_threshold": 32,
    }.items() <= received.items()
    assert (received["queue_state"], received["rx_buf_size"], received["offloads"]) == (0, 2176, [])
    sent = ask("/ethdev/tx_queue,0")
    assert {
        "nb_desc": 256,
        "rs_threshold": 8,
        "deferred_start": "off",
        "offloads": ["MULTI_SEGS"],
    }.items() <= sent.items()
    # Of two queues one must be named, one that is there and set up.
    for wrong in ("0", "0,", "0,0", "0,2", "0,x", "1,1"):
        assert ask(f"/ethdev/rx_queue,{wrong}") is None


def test_addresses_are_told(started: Port, device: ModelDevice, ask: Ask) -> None:
    device.capabilities = DeviceInfo(max_rx_queues=4, max_tx_queues=4, max_mac_addrs=4)
    started.add_mac(bytes.fromhex("02aabbccddee"))
    assert ask("/ethdev/macs,0") == ["02:00:00:00:00:01", "02:AA:BB:CC:DD:EE"]


def test_spreading_by_hash_is_told_where_there_is_one(port: Port, device: ModelDevice, ask: Ask) -> None:
    assert ask("/ethdev/rss_info,0") is None
    device.capabilities = DeviceInfo(hash_key_size=4, flow_type_rss_offloads=0xC)
    port.config = PortConfig(rss_hf=0xC, rss_key=b"\x6d\x5a\x56\xda")
    assert ask("/ethdev/rss_info,0") == {
        "rss_hf": "0xc",
        "rss_key_len": 4,
        "rss_key": "6d5a56da",
        "algorithm": "default",
    }


def test_vlan_switches_are_told(port: Port, ask: Ask) -> None:
    assert ask("/ethdev/vlan,0")["VLAN_STRIP"] == "off"
    port.config = PortConfig(rx_offloads=RxOffload.VLAN_STRIP)
    told = ask("/ethdev/vlan,0")
    assert (told["VLAN_STRIP"], told["VLAN_FILTER"], told["vlan_num"], told["vlan_ids"]) == ("on", "off", 0, {})


def test_what_a_driver_says_of_itself_is_told(port: Port, device: ModelDevice, ask: Ask) -> None:
    assert ask("/ethdev/dump_priv,0") is None
    device.capabilities = DeviceInfo(private_info={"ring": "split", "peer": "away"})
    assert ask("/ethdev/dump_priv,0") == "ring: split\npeer: away\n"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("parameters", ["", "1", "x", "-1", ",0", "010", "0x1", "99999999999999999999", "é"])
def test_a_port_that_is_not_there_is_null(started: Port, ask: Ask, command: str, parameters: str) -> None:
    assert ask(f"/ethdev/{command},{parameters}") is None


@pytest.mark.parametrize("parameters", ["0", "0x0", "00", "0x", "09", "0,foo", "0 "])
def test_numbers_are_read_as_dpdk_reads_them(started: Port, ask: Ask, parameters: str) -> None:
    assert ask(f"/ethdev/stats,{parameters}")["ipackets"] == 0


def test_ports_that_come_and_go_harm_no_request(ports: Ports, pool: Mempool, ask: Ask) -> None:
    done = threading.Event()
    answers: list[Any] = []

    def watch() -> None:
        while not done.is_set():
            answers.extend(ask(f"/ethdev/{name},0") for name in COMMANDS)
            answers.extend(ask(request) for request in ("/ethdev/list", "/mempool/info,pool", "/eal/heap_info,0"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(200):
            port = ports.add(ModelDevice())
            port.configure(1, 1)
            port.setup_rx_queue(0, 0, pool)
            port.setup_tx_queue(0, 0)
            port.start()
            port.stop()
            ports.remove(port)
    finally:
        done.set()
        watcher.join()
    assert answers
    lists = answers[len(COMMANDS) :: len(COMMANDS) + 3]
    assert all(numbers in ([], [0]) for numbers in lists)
