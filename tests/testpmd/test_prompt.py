# SPDX-License-Identifier: BSD-3-Clause
"""The prompt's commands on a session of this process: what each prints, what it changes, and that none ends it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pollmode.eal.environment import Environment
from pollmode.eal.stopper import Stopper
from pollmode.ethdev import Device, RxOffload, State
from pollmode.net_null.device import NullDevice
from pollmode.testpmd.lifecycle import close_ports, start_ports, stop_ports
from pollmode.testpmd.options import parse
from pollmode.testpmd.prompt import shell
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import ARROW

# A first run compiles, which a busy machine takes minutes for.
pytestmark = pytest.mark.timeout(600)

_serial = itertools.count()

Say = Callable[[str], tuple[str, str]]
"""`say(line)` runs a line and returns what it printed and what it told."""


@pytest.fixture
def session() -> Iterator[Session]:
    """Two started net_null ports at a prompt that nobody types at."""
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    eal = ["--no-huge", "--in-memory", "--no-pci", "-m", "64", "--lcores", f"(0-2)@({cpus})"]
    eal += ["--file-prefix", f"prompt{os.getpid()}x{next(_serial)}", "--vdev", "net_null0", "--vdev", "net_null1"]
    options = parse(["-i", "--total-num-mbufs=4096", "--mbcache=64", "--rxd=128", "--txd=128"])
    with Stopper() as stopper, Environment.start(eal) as environment:
        made = Session(environment, options, stopper)
        made.bus.probe_all()
        made.set_up()
        start_ports(made, made.ports.available(), strict=True)
        yield made
        if made.running:
            made.stop()
        stop_ports(made, made.ports.available(), look=False)
        close_ports(made, made.ports.available())
        made.close()


@pytest.fixture
def say(session: Session, capsys: pytest.CaptureFixture[str]) -> Say:
    capsys.readouterr()

    def run(line: str) -> tuple[str, str]:
        shell.run_line(session, line)
        printed, told = capsys.readouterr()
        return printed, "\n".join(line for line in told.splitlines() if not line.startswith("compiling "))

    return run


def test_forwarding_is_started_and_stopped_again_and_again(session: Session, say: Say) -> None:
    for burst in (16, 32):
        say(f"set burst {burst}")
        assert f"packets/burst={burst}" in say("start")[0]
        assert session.running
        assert say("start")[1] == "Packet forwarding already started"
        while session.ports[0].stats().opackets < 1000:
            pass
        printed, _ = say("stop")
        assert "Accumulated forward statistics for all ports" in printed
        assert printed.endswith("\nDone.\n")
        assert say("stop")[1] == "Packet forwarding not started"
        say("clear port stats all")


def test_statistics_are_cleared_while_packets_move(session: Session, say: Say) -> None:
    say("start")
    while session.ports[0].stats().opackets < 1000:
        pass
    say("clear fwd stats all")
    say("stop")
    counted = sum(port.ipackets for port in session.forward_summary().ports)
    assert counted <= sum(port.stats().ipackets for port in session.ports) - 1000
    assert "Forward statistics for port 1" in say("show fwd stats all")[0]


def test_a_mode_takes_effect_at_the_next_start(session: Session, say: Say) -> None:
    say("start")
    printed, told = say("set fwd txonly")
    assert printed == "Set txonly packet forwarding mode\n"
    assert told.startswith(ARROW)
    say("stop")
    assert "txonly packet forwarding - ports=2" in say("start")[0]
    assert session.ports[0].stats().ipackets >= 0


def test_a_port_that_forwards_is_neither_stopped_nor_closed(session: Session, say: Say) -> None:
    say("start")
    assert say("port stop 0")[1] == "Please remove port 0 from forwarding configuration."
    assert say("port close all")[1].count("Please remove port") == 2
    assert session.ports[0].state is State.STARTED


def test_queues_are_changed_while_all_ports_are_stopped(session: Session, say: Say) -> None:
    assert say("port config all rxq 2")[1] == "Please stop all ports first"
    say("port stop all")
    assert say("start")[1] == "Not all ports were started"
    say("port config all rxq 2")
    say("port config all txq 2")
    say("port config all rxd 256")
    printed, _ = say("port start all")
    assert printed.startswith("Configuring Port 0 (socket 0)\nPort 0: ")
    assert (session.ports[0].rx_queues, session.ports[0].tx_queues) == (2, 2)
    assert "Number of RXDs: 256" in say("show rxq info 0 1")[0]
    assert "streams=4" in say("start")[0]


def test_forwarding_is_not_started_without_the_queues_of_its_mode(session: Session, say: Say) -> None:
    say("port stop all")
    say("port config all rxq 0")
    say("port start all")
    assert say("start")[1] == "Either rxq or txq are 0, cannot use io fwd mode"
    say("set fwd txonly")
    assert "txonly packet forwarding - ports=2" in say("start")[0]


def test_too_many_queues_are_refused_in_dpdks_words(session: Session, say: Say) -> None:
    say("port stop all")
    told = say("port config all rxq 1025")[1]
    assert told == "Fail: input rxq (1025) can't be greater than max_rx_queues (1024) of port 0"
    assert session.options.rxq == 1


def test_ports_come_and_go(session: Session, say: Say) -> None:
    printed, told = say("port attach net_null7,size=128")
    assert printed == "Attaching a new port...\nPort 2 is attached. Now total ports is 3\nDone\n"
    assert told == ""
    assert session.ports[2].state is State.ATTACHED
    say("port start 2")
    assert "ports=3" in say("start")[0]
    say("stop")
    assert say("port detach 2")[1] == "Port not stopped"
    say("port stop 2")
    printed, told = say("port detach 2")
    assert printed == "Removing a device...\nPort 2 is closed\nDevice is detached\nNow total ports is 2\nDone\n"
    assert told == "Port was not closed"
    assert session.selection.forwarding_ports == (0, 1)


def test_a_new_port_receives_frames_for_any_address_or_says_that_it_cannot(
    session: Session, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(NullDevice, "promiscuous", False)
    monkeypatch.setattr(NullDevice, "set_promiscuous", lambda _, enabled: asked.append(enabled))
    say("port attach net_null7")
    assert (asked, session.ports[2].promiscuous) == ([True], True)
    monkeypatch.setattr(NullDevice, "set_promiscuous", Device.set_promiscuous)
    printed, told = say("port attach net_null8")
    assert "Now total ports is 4" in printed
    assert told.startswith("Error during enabling promiscuous mode for port 3: Operation not supported - ignore\n")


def test_groups_are_added_and_removed_one_by_one_and_all_at_once(
    session: Session, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[bytes, ...]] = []
    monkeypatch.setattr(NullDevice, "set_multicast", lambda _, macs: asked.append(tuple(macs)))
    first, second = "01:00:5E:00:00:01", "01:00:5E:00:00:02"
    assert say(f"mcast_addr add 0 {first}") == say(f"mcast_addr add 0 {second}") == ("", "")
    assert say(f"mcast_addr add 0 {first}")[1] == "multicast address already filtered by port 0"
    assert say("show port 0 mcast_macs")[0] == f"Number of Multicast MAC address added: 2\n  {first}\n  {second}\n"
    say(f"mcast_addr remove 0 {first}")
    say("mcast_addr flush 0")
    group = bytes.fromhex(second.replace(":", ""))
    assert asked[1:] == [(bytes.fromhex(first.replace(":", "")), group), (group,), ()]
    assert say("show port 0 mcast_macs")[0] == "Number of Multicast MAC address added: 0\n"


def test_vlans_are_filtered_and_stripped_while_the_port_runs(
    session: Session, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []
    info = session.ports[0].info()
    able = replace(info, rx_offload_capa=int(RxOffload.VLAN_FILTER | RxOffload.VLAN_STRIP))
    monkeypatch.setattr(NullDevice, "info", lambda _: able)
    monkeypatch.setattr(NullDevice, "set_vlan_offload", lambda _, offloads: asked.append((offloads,)))
    monkeypatch.setattr(NullDevice, "set_vlan_filter", lambda _, vlan, on: asked.append((vlan, on)))
    assert say("rx_vlan add 5 0")[1].startswith("Port 0: VLAN-filtering disabled\nrte_eth_dev_vlan_filter(port_pi=0")
    assert say("vlan set filter on 0") == say("rx_vlan add 5 0") == say("rx_vlan rm 5 0") == ("", "")
    assert asked == [(RxOffload.VLAN_FILTER,), (5, True), (5, False)]
    say("rx_vlan add all 0")
    assert len(asked) == 3 + 4096
    say("vlan set strip on 0")
    say("vlan set filter off 0")
    assert asked[-2:] == [(RxOffload.VLAN_FILTER | RxOffload.VLAN_STRIP,), (RxOffload.VLAN_STRIP,)]
    assert session.bringup[session.ports[0]].rx_offloads == session.ports[0].config.rx_offloads == RxOffload.VLAN_STRIP
    assert "must be within Rx offloads capabilities" in say("vlan set extend on 0")[1]


def test_faults_come_and_go_while_packets_are_forwarded(session: Session, say: Say) -> None:
    say("start")
    printed, _ = say("port attach net_fault0,port=net_null0,rx_drop=100%")
    assert "It is around port 0, which goes on. Now total ports is 2\nDone\n" in printed
    while session.ports[0].xstats()["rx_q0_fault_dropped_packets"] == 0:
        assert session.running
    assert "net_null0 already; take it off first" in say("port attach net_fault1,port=net_null0,drop=1%")[1]
    assert "Device net_fault0 is detached\nNow total ports is 2\nDone\n" in say("device detach net_fault0")[0]
    assert not any("fault" in name for name in session.ports[0].xstats())
    assert "there is no such device" in say("device detach net_fault0")[1]
    say("stop")


def test_a_closed_port_is_gone_until_its_device_is_detached(session: Session, say: Say) -> None:
    say("port stop 1")
    assert say("port close 1")[0] == "Closing ports...\nPort 1 is closed\nDone\n"
    assert say("port close 1")[1] == "Invalid port 1"
    assert "attached already" in say("port attach net_null1")[1]
    assert "Device net_null1 is detached" in say("device detach net_null1")[0]
    assert "Port 1 is attached" in say("port attach net_null1")[0]


def test_a_device_that_is_not_there_is_explained(say: Say) -> None:
    printed, told = say("port attach net_nul5")
    assert printed == "Attaching a new port...\n"
    assert told.startswith("testpmd: Failed to attach port net_nul5\n  -> no driver found for net_nul5")


@pytest.mark.parametrize(
    ("line", "printed", "told"),
    [
        ("set nbport 1", "Number of forwarding ports set to 1\n", ""),
        ("set nbport 3", "", "nb fwd ports 3 > 2 (number of configured ports) - ignored"),
        ("set nbcore 2", "Number of forwarding cores set to 2\n", ""),
        ("set nbcore 3", "", "nb fwd cores 3 > 2 (max. number of configured lcores) - ignored"),
        ("set portlist 1,0", "", ""),
        ("set portlist 0,0", "", "duplicated port 0 at index 0 and 1"),
        ("set portlist 0,x", "", "character x is not a decimal digit"),
        ("set portlist ,", "", "No valid value before comma"),
        ("set portlist 5", "", "Invalid port 5"),
        ("set portmask 0", "", "Invalid NULL mask of ports"),
        ("set portmask 0x1", "previous number of forwarding ports 2 - changed to number of configured ports 1\n", ""),
        ("set coremask 0x8", "", "lcore 3 not enabled"),
        (
            "set corelist 0",
            "",
            "lcore 0 cannot be masked on for running packet forwarding, "
            "which is the main lcore and reserved for command line parsing only",
        ),
        ("set corelist 2,1", "previous number of forwarding cores 1 - changed to number of configured cores 2\n", ""),
        ("set burst 600", "", "nb pkt per burst: 600 > 512 (maximum packet per burst)  ignored"),
        ("set txpkts 20", "", "total packet length=20 < 42 - give up"),
        ("set txpkts 5000", "", "length[0]=5000 > mbuf_data_size=2176 - give up"),
        ("set eth-peer 9 02:00:00:00:00:01", "", "Error: Invalid port number 9"),
        ("set eth-peer 0 nonsense", "", "Error: Invalid ethernet address: nonsense"),
        ("set promisc 9 on", "", "Error during enabling promiscuous mode for port 9: No such device"),
        ("port config mtu 0 10", "", "MTU (10) < device min MTU (46) for port_id 0"),
        ("port start 0", "Done\n", "Port 0 is now not stopped\nPlease stop the ports first"),
        ("port reset 0", "", "Can not reset port(s), please stop port(s) first."),
        ("port 0 rxq 0 setup", "", "Failed to setup RX queue"),
        ("port 0 rxq 7 stop", "", "Invalid RX queue 7 (must be < nb_rxq=1)"),
        ("port 0 txq 0 deferred_start on", "", "Please stop port 0 first"),
        ("port config 0 rx_offload scatter on", "", "Error: Can't config offload when Port 0 is not stopped"),
        ("csum show 0", "", "Please stop port 0 first"),
        ("show port stats 9", "The valid ports array is [ 0 1 ]\n", "Invalid port 9"),
        ("load /no/such/file", "", "Failed to create file based cmdline context: /no/such/file"),
        ("show config txtimes", "Interburst gap: 0\nIntraburst gap: 0\n", ""),
        ("frobnicate", "Command not found\n", ""),
        ("show prot stats 0", "Bad arguments\n", ""),
    ],
)
def test_what_a_line_answers(say: Say, line: str, printed: str, told: str) -> None:
    answered = say(line)
    words = [text for text in answered[1].splitlines() if text and not text.startswith((ARROW, "Warning!"))]
    assert (answered[0], "\n".join(words)) == (printed, told)


def test_the_nearest_command_is_named_behind_the_arrow(say: Say) -> None:
    assert say("strat") == ("Command not found\n", f"{ARROW}the nearest command is: start")


def test_every_forwarding_port_may_be_alone(session: Session, say: Say) -> None:
    say("set portlist 1")
    assert "RX P=1/Q=0 (socket 0) -> TX P=1/Q=0 (socket 0) peer=02:00:00:00:00:01" in say("show config fwd")[0]
    say("set eth-peer 1 02:00:00:00:00:77")
    assert "peer=02:00:00:00:00:77" in say("show config fwd")[0]
    say("set default")
    assert session.selection.forwarding_ports == (0, 1)
    assert "peer=02:00:00:00:00:01" in say("show config fwd")[0]


def test_a_queue_is_stopped_and_started(session: Session, say: Say) -> None:
    say("port 0 rxq 0 stop")
    assert not session.ports[0].queue_running("rx", 0)
    assert "Rx queue state: stopped" in say("show rxq info 0 0")[0]
    say("port 0 rxq 0 start")
    assert session.ports[0].queue_running("rx", 0)
    say("port stop 0")
    say("port 0 txq 0 deferred_start on")
    say("port start 0")
    assert not session.ports[0].queue_running("tx", 0)


def test_offloads_are_configured_on_a_stopped_port(session: Session, say: Say) -> None:
    say("port stop 0")
    say("port config 0 tx_offload multi_segs on")
    assert say("port config 0 tx_offload vlan_insert on") == ("", "")
    assert "Fail to configure port 0" in say("port start 0")[1]
    say("port config 0 tx_offload vlan_insert off")
    say("port start 0")
    assert "  Port : MULTI_SEGS\n  Queue[ 0] : MULTI_SEGS\n" in say("show port 0 tx_offload configuration")[0]


def test_a_file_of_commands_is_run(say: Say, session: Session, tmp_path: Path) -> None:
    file = tmp_path / "commands"
    file.write_text("# a comment\n\nset burst 8\nnonsense\nset burst 9\n")
    printed, _ = say(f"load {file}")
    assert "set to 8\nCommand not found\nNumber of packets per burst set to 9\n" in printed
    assert printed.endswith(f"Read CLI commands from {file}\n")
    assert "testpmd> set burst 8\n" in say(f"load_echo {file}")[0]
    file.write_text(f"load {file}\n")
    assert "load one another already" in say(f"load {file}")[1]
    file.write_text("quit\nset burst 7\n")
    say(f"load {file}")
    assert session.over
    assert session.options.burst == 9


def test_a_mistake_of_ours_does_not_end_the_session(
    session: Session, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "stop", lambda: 1 // 0)
    assert "the session goes on" in say("stop")[1]
    assert say("set burst 4")[0] == "Number of packets per burst set to 4\n"


def test_watching_ends_by_itself_after_so_many_times(say: Say) -> None:
    printed, _ = say("watch port stats 0 1 2")
    assert printed.count("Port statistics ====") == 2
    assert printed.count("NIC statistics for port 0 ") == 2


def test_help_is_made_of_the_grammar(say: Say) -> None:
    assert "    help control                    : Start and stop forwarding.\n" in say("help")[0]
    printed, _ = say("help all")
    for title in ("Control forwarding:", "Display:", "Configuration:", "Port Operations:"):
        assert title in printed
    assert "set fwd io|mac" in printed
    assert " port start <port>|all: Start ports" in say("port st?")[0]


@pytest.mark.parametrize(
    "line",
    [
        "dump_physmem",
        "dump_memzone",
        "dump_socket_mem",
        "dump_struct_sizes",
        "dump_ring",
        "dump_mempool mb_pool_0",
        "dump_devargs",
        "dump_log_types",
        "dump_lcores",
        "show device info all",
        "show port info all",
        "show port summary all",
        "show port xstats all",
        "show config cores",
        "show config rxtx",
        "show config rxpkts",
        "show port 0 ptypes",
    ],
)
def test_what_only_shows_something(say: Say, line: str) -> None:
    printed, told = say(line)
    assert printed
    assert told == ""


def test_log_levels_are_set_by_expression(say: Say) -> None:
    say("set log lib.ethdev 8")
    assert "lib.ethdev, level is debug" in say("dump_log_types")[0]
    say("set log lib.ethdev 6")
    assert "lib.ethdev, level is notice" in say("dump_log_types")[0]
    assert "levels are 1" in say("set log global 99")[1]
    assert "Unable to set log level" in say("set log [ 3")[1]


def test_used_descriptors_are_counted_where_a_driver_can_tell(session: Session, say: Say) -> None:
    assert say("show port 0 rxq 0 desc used count")[1].startswith("Invalid queueid = 0\n")
    say("port attach net_ring2")
    say("port start 2")
    assert say("show port 2 rxq 0 desc used count")[0] == "Used desc count = 0\n"
    assert "there is no Rx queue 7" in say("show port 2 rxq 7 desc used count")[1]
