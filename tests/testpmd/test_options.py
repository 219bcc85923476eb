# SPDX-License-Identifier: BSD-3-Clause
"""testpmd's own options: DPDK's defaults, every option's effect, and DPDK's words for what is wrong."""

from pathlib import Path

import pytest

from pollmode.eal.errors import ConfigError, HostError, UnsupportedError
from pollmode.eal.grammar import Option
from pollmode.testpmd import options
from pollmode.testpmd.option_table import OPTIONS, RX_OFFLOAD_OPTIONS
from pollmode.testpmd.options import Thresholds


def test_the_defaults_are_dpdks() -> None:
    parsed = options.parse([])
    assert parsed == options.Options()
    assert (parsed.burst, parsed.mbcache, parsed.mbuf_size, parsed.rxq, parsed.txq) == (32, 250, 2176, 1, 1)
    assert (parsed.forward_mode, parsed.port_topology, parsed.txpkts) == ("io", "paired", (64,))
    assert parsed.tx_ip == (0xC6120001, 0xC6120002)  # 198.18.0.1 and .2
    assert parsed.tx_udp == (9, 9)
    assert parsed.mtu == 0


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("--tx-first", "tx_first", 1),
        ("--tx-first=8", "tx_first", 8),
        ("--stats-period 2", "stats_period", 2),
        ("--display-xstats=a,b", "display_xstats", ("a", "b")),
        ("--disable-link-check", "link_check", False),
        ("--no-lsc-interrupt", "lsc_interrupt", False),
        ("--no-rmv-interrupt", "rmv_interrupt", False),
        ("--nb-cores=2", "nb_cores", 2),
        ("--nb-ports=1", "nb_ports", 1),
        ("--coremask=0x6", "coremask", 6),
        ("--portmask=5", "ports", (0, 2)),
        ("--portlist=2,0-1", "ports", (2, 0, 1)),
        ("--no-numa", "numa", False),
        ("--port-topology=chained", "port_topology", "chained"),
        ("--mbuf-size=9000", "mbuf_size", 9000),
        ("--total-num-mbufs=2048", "total_num_mbufs", 2048),
        ("--mbcache=0", "mbcache", 0),
        ("--max-pkt-len=9018", "mtu", 9000),
        ("--forward-mode=5tswap", "forward_mode", "5tswap"),
        ("--eth-peer=1,02:00:00:00:00:07", "eth_peers", {1: bytes.fromhex("020000000007")}),
        ("--tx-ip=10.0.0.1,10.0.0.2", "tx_ip", (0x0A000001, 0x0A000002)),
        ("--tx-udp=5", "tx_udp", (5, 5)),
        ("--tx-udp=5,6", "tx_udp", (5, 6)),
        ("--txpkts=64,128", "txpkts", (64, 128)),
        ("--txonly-multi-flow", "txonly_flows", 64),
        ("--txonly-multi-flow --txonly-flows=3", "txonly_flows", 3),
        ("--flowgen-flows=5", "flowgen_flows", 5),
        ("--retry", "retry", True),
        ("--rxq 0", "rxq", 0),
        ("--rxd=128", "rxd", 128),
        ("--txd=256", "txd", 256),
        ("--burst=0", "burst", 0),
        ("--rxpt=1 --rxht=2 --rxwt=3 --rxfreet=4", "rx_thresholds", Thresholds(1, 2, 3, 4)),
        ("--txpt=1 --txht=2 --txwt=3 --txfreet=4 --txrst=5", "tx_thresholds", Thresholds(1, 2, 3, 4, 5)),
        ("--no-flush-rx", "flush_rx", False),
        ("--tx-offloads=0x8000", "tx_offloads", 0x8000),
        ("--enable-drop-en", "drop", True),
        ("--record-core-cycles", "record_core_cycles", True),
        ("--record-burst-stats", "record_burst_stats", True),
        ("-h", "help", True),
    ],
)
def test_an_option_reaches_its_field(line: str, field: str, value: object) -> None:
    assert getattr(options.parse(line.split()), field) == value


def test_options_that_change_nothing_here_are_accepted() -> None:
    assert options.parse(["--numa", "--no-mlockall", "--mp-alloc=native", "--disable-rss"]) == options.Options()


def test_offload_options_add_up() -> None:
    parsed = options.parse([f"--{key}" for key in RX_OFFLOAD_OPTIONS])
    assert len(set(parsed.rx_offload_names)) == len(parsed.rx_offload_names)
    assert {"KEEP_CRC", "SCATTER", "UDP_CKSUM", "VLAN_STRIP", "QINQ_STRIP"} <= set(parsed.rx_offload_names)


def test_events_are_chosen_in_order() -> None:
    assert "dev_probed" in options.parse(["--print-event=dev_probed"]).events
    assert options.parse(["--mask-event=all"]).events == frozenset()
    assert "intr_lsc" not in options.parse(["--mask-event", "intr_lsc"]).events


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--burst=513", "burst must be between1 and 512, not 513"),
        ("--burst=many", "burst must be between1 and 512, not many"),
        ("--port-topology=ring", "port-topology ring invalid - must be: paired, chained or loop"),
        ("--rxq=0 --txq=0", "Either rx or tx queues should be non-zero"),
        ("--rxq=1025", "rxq 1025 invalid - must be >= 0 && <= 1024"),
        ("--txq=-1", "txq -1 invalid - must be >= 0 && <= 1024"),
        ("--rxd=0", "rxd(0) invalid - must be > 0"),
        ("--rxd=65536", "rxd(65536) invalid - must be > 0 and <= 65535"),
        ("--txd=x", "txd(x) invalid - must be > 0"),
        ("--mbcache=513", "mbcache must be >= 0 and <= 512, not 513"),
        ("--total-num-mbufs=1024", "total-num-mbufs should be > 1024 and <= 1073741824, not 1024"),
        ("--total-num-mbufs=4000000000", "total-num-mbufs should be > 1024 and <= 1073741824"),
        ("--mbuf-size=65536", "mbuf-size should be > 0 and < 65536, not 65536"),
        ("--mbuf-size=big", "bad mbuf-size 'big'"),
        ("--max-pkt-len=20", "Invalid max-pkt-len=20 - should be > 64"),
        ("--stats-period=x", "Invalid stats-period value 'x', it must be 0"),
        ("--stats-period=-1", "Invalid stats-period value '-1'"),
        ("--coremask=zz", "Invalid fwd core mask"),
        ("--portmask=zz", "Invalid fwd port mask"),
        ("--portmask=0", "Invalid fwd port mask"),
        ("--portlist=1,1", "Invalid portlist"),
        ("--portlist=a", "Invalid portlist"),
        ("--eth-peer=0,zz", "Invalid ethernet address: zz"),
        ("--eth-peer=32,00:00:00:00:00:01", "eth-peer: port 32 >= RTE_MAX_ETHPORTS(32)"),
        ("--tx-ip=1,2", "Invalid source IP address: 1"),
        ("--tx-ip=1.2.3.4", "Missing destination IP address: --tx-ip is 1.2.3.4"),
        ("--rxpt=65536", "rxpt must be >= 0 and <= 65535, not 65536"),
        ("--portmask=0", "Invalid fwd port mask: 0x0, ports are 0 to 31"),
        ("--tx-ip=1.2.3.4,2", "Invalid destination IP address: 2"),
        ("--tx-udp=70000", "Invalid UDP port: 70000"),
        ("--txpkts=x", "bad txpkts"),
        ("--txpkts=10", "total packet length=10 < 42 - give up"),
        ("--txpkts=5000", "length[0]=5000 > mbuf_data_size=2048 - give up"),
        ("--txpkts=10,64", "the first segment must hold the headers"),
        ("--txpkts=64,0", "a segment must not be empty"),
        ("--txonly-flows=3", "txonly-flows needs --txonly-multi-flow"),
        ("--txonly-multi-flow --txonly-flows=65", "txonly-flows must be >= 1 and <= 64, not 65"),
        ("--flowgen-flows=0", "flows must be >= 1, not 0"),
        ("--mp-alloc=heap", "mp-alloc heap invalid - must be: native, anon, xmem or xmemhuge"),
        ("--forward-mode=maccswap", "Invalid maccswap packet forwarding mode (did you mean 'macswap'?)"),
        ("--print-event=lsc", "Invalid event 'lsc'"),
        ("--portmask=1 --portlist=0", "Invalid option combination, portmask and portlist"),
        ("--coremask=1 --nb-cores=1", "Invalid option combination, coremask and nb-cores"),
        ("--burts=4", "unknown argument --burts! (did you mean '--burst'?)"),
        ("io", "unexpected argument 'io'"),
    ],
)
def test_what_is_wrong_is_said_in_dpdks_words(line: str, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        options.parse(line.split())
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.lacking], ids=lambda option: option.key)
def test_an_option_dpdk_has_and_this_has_not_says_so(option: Option) -> None:
    words = [option.names[0], *(["1"] if option.value and option.absent is None else [])]
    with pytest.raises(UnsupportedError, match="is not supported yet: "):
        options.parse(words)


@pytest.mark.parametrize("line", ["--forward-mode=noisy", "--mp-alloc=anon", "--mbuf-size=2048,4096"])
def test_a_value_dpdk_has_and_this_has_not_says_so(line: str) -> None:
    with pytest.raises(UnsupportedError, match="not supported yet"):
        options.parse([line])


def test_peers_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "peers"
    file.write_text("# port 0\n02:00:00:00:00:0a\n\n02:00:00:00:00:0b\n")
    parsed = options.parse([f"--eth-peers-configfile={file}"])
    assert parsed.eth_peers == {0: bytes.fromhex("02000000000a"), 1: bytes.fromhex("02000000000b")}


def test_a_file_of_peers_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="Failed to open eth config file"):
        options.parse([f"--eth-peers-configfile={tmp_path / 'none'}"])
