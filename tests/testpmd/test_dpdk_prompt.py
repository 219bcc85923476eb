# SPDX-License-Identifier: BSD-3-Clause
"""The same commands, piped to our prompt and to DPDK's: the answers are the same, line by line.

What differs by nature is made alike first: MAC addresses, counts of packets, rates. Lines of ours that say why stand
behind an arrow and are left out, as are DPDK's own log lines.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.dpdk import require_testpmd
from support.prompt_text import alike, session_of

from pollmode.eal.jit import BOUNDS_CHECKED, INTERPRETED
from pollmode.testpmd.tell import ARROW

pytestmark = [
    pytest.mark.peer,
    pytest.mark.timeout(600),
    pytest.mark.skipif(INTERPRETED or BOUNDS_CHECKED, reason="what is printed does not depend on how code runs"),
]

_serial = itertools.count()

LONGEST = 240.0

SHOWING = """\
show port stats all
show port xstats 0
show port summary all
show port summary 1
show config fwd
show config rxtx
show config cores
show config txpkts
show config txtimes
show config rxoffs
show config rxpkts
show config rxhdrs
show port info 7
show port stats 7
show port xstats 7
show port summary 7
show port 0 macs
show port 0 mcast_macs
show port 0 ptypes
show port 7 macs
show port 0 rx_offload capabilities
show port 0 rx_offload configuration
show port 0 tx_offload configuration
show port 0 rxq 0 desc 0 status
show port 0 txq 0 desc 0 status
show port 0 rxq 0 desc used count
show port 9 rxq 0 desc used count
show device info all
show device info nothing
show port 9 rx_offload capabilities
show port 9 tx_offload configuration
dump_devargs
show fwd stats all
clear port stats all
clear port xstats all
clear fwd stats all
help
"""

WRONG = """\
foo
foo bar
show
show foo
show port
show port stats
show port stats all all
show port stats -1
show port stats 65536
set burst 65536
set burst 1x
set fwd bogus
set fwd rxonly retry
set fwd 5tswap again
set fwd
set txpkts
set verbose -1
port start
port config mtu 0 70000
start tx_first x
stop now
set nbcore
set promisc 0 maybe
mac_addr add 0 02:00
"""

FORWARDING = """\
stop
set fwd mac
start
start
port stop 0
port close 1
set nbcore 1
set portlist 0
set corelist 1
port 0 rxq 0 stop
stop
stop
set fwd txonly
set txpkts 64,128
show config txpkts
show config rxtx
start
show config fwd
stop
set fwd flowgen
show config rxtx
set fwd io retry
set burst tx delay 2 retry 8
show config rxtx
start tx_first
show config fwd
stop
start tx_first 3
stop
set fwd rxonly
start
stop
set fwd csum
start
show fwd stats all
stop
set fwd icmpecho
start
stop
set record-core-cycles off
set record-burst-stats off
set fwd 5tswap
set fwd macswap
set default
"""

CHOOSING = """\
set burst 16
set burst 600
show config rxtx
set nbport 9
set nbcore 9
set nbcore 1
set portlist 1,0
show config fwd
set portlist 0,0
set portlist 0,x
set portlist ,
set portlist 9
set portmask 0
set portmask 3
set coremask 0
set coremask 2
set coremask 0x80000
set corelist 0
set corelist 1
set corelist 1,1
show config cores
set txpkts 20
set txpkts 5000
set txpkts 64,x
set eth-peer 0 02:00:00:00:00:77
set eth-peer 9 02:00:00:00:00:77
set eth-peer 0 nonsense
set eth-peer 0 0011:2233:4455
show config fwd
set flush_rx off
set link_check on
set xstats-hide-zero on
show port xstats 0
set xstats-hide-zero off
set stat_qmap rx 0 0 0
set stat_qmap tx 0 0 99
set stat_qmap rx 0 9 0
set stat_qmap rx 9 0 0
set nbport 1
set default
start
stop
"""

PORTS = """\
port start 0
port start 7
port stop 7
port close 7
port reset 0
port reset 7
port 0 rxq 0 deferred_start on
port 0 rxq 7 stop
port 0 txq 7 stop
port 7 rxq 0 stop
port config all rxq 2
port config all burst 64
port config all txfreet 9
port config all rxpt 4
port config all drop-en on
port config all max-pkt-len 1518
csum show 0
csum set ip hw 0
tso show 0
tso set 800 0
tx_vlan set 0 5
tx_vlan reset 0
port config 0 rx_offload scatter on
port stop 0
start
port 0 rxq 0 stop
port start 0
port stop all
port config all rxq 1025
port config all txq 1025
port config all rxq 2
port config all txq 2
port config all rxd 256
port config all txd 256
port config all max-pkt-len 20
port config all burst 600
port config all burst 0
csum show 0
csum set udp hw 0
csum set outer-ip hw 0
tso show 0
tso set 800 0
tso set 0 0
port start all
show config rxtx
show config fwd
start
stop
port stop 1
port close 1
port close 1
port start 1
show port summary all
port detach 0
port stop 0
port detach 0
show port summary all
port attach net_null7
show port summary all
port start 0
device detach net_null7
port stop 0
port stop all
port config all rxfreet 0
port 0 txq 0 tx_offload security on
port start 0
port 0 txq 0 tx_offload security off
port 0 rxq 0 rx_offload security on
port start 0
"""

RECEPTION = """\
set promisc 0 on
set promisc all on
set promisc 9 on
set allmulti 0 on
set allmulti all off
set allmulti 9 off
mac_addr add 0 02:00:00:00:00:05
mac_addr set 0 02:00:00:00:00:05
mac_addr remove 0 02:00:00:00:00:07
mac_addr set 9 02:00:00:00:00:05
show port 0 macs
mcast_addr add 0 01:00:5e:00:00:01
mcast_addr remove 0 01:00:5e:00:00:01
set link-up port 0
set link-down port 0
set link-down port 9
vlan set strip on 0
vlan set filter on 0
vlan set strip off 0
vlan set strip on 9
rx_vlan add 5 0
rx_vlan rm 5 0
rx_vlan add 5000 0
rx_vlan add 5 9
tx_vlan set 9 5
show port 0 rss-hash
show port 0 rss-hash key
port config 0 rss-hash-key ipv4 00
port config mtu 0 1400
port config mtu 0 45
port config mtu 0 46
port config mtu 9 1400
dump_ring nothing
dump_mempool nothing
set log global 8
"""


SPREADING = """\
show port 0 rss-hash
show port 0 rss-hash key
port config 0 rss reta (0,0)
show port 0 rss reta 128 (0xff)
port config all rss ip
port config all rss all
port config all rss none
port config all rss l3-src-only
port config all rss 5
port config all rss 64
port config all rss nonsense
port config all rss default
port config 0 rss-hash-key ipv4 00ff
port config 9 rss-hash-key ipv4 00ff
port config 9 rss reta (0,0)
show port 9 rss reta 128 (0xff)
"""

OURS = (ARROW, "compiling ")
THEIRS = ("EAL:", "testpmd: preferred", "rte_eth_dev_", "Invalid port_id", "Ethdev port_id")


def plain(text: str) -> list[str]:
    """Return the lines of a session with what differs by nature made alike."""
    text = re.sub(r"(Device speed capability:).*", r"\1", alike(text))
    text = re.sub(r"\nPrimary: [^\n]*\n", "", text)  # DPDK's packet capture takes its leave
    return [line.rstrip() for line in text.splitlines() if not line.startswith((*OURS, *THEIRS))]


def piped(argv: Sequence[str], commands: str, environment: dict[str, str]) -> list[str]:
    """Run a program with commands on its standard input; return its plain lines."""
    done = subprocess.run(
        list(argv),
        input=commands,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=LONGEST,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return session_of(plain(done.stdout))


def both(commands: str, vdevs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what our prompt answers and what DPDK's answers."""
    require_testpmd()
    cpu = min(os.sched_getaffinity(0))
    prefix = f"both{os.getpid()}x{next(_serial)}"
    eal = ["--lcores", f"0@{cpu},1@{cpu}", "--no-huge", "--no-pci", "--no-telemetry", "--file-prefix", prefix]
    eal += [word for vdev in vdevs for word in ("--vdev", vdev)]
    app = ["--", "-i", "--no-mlockall", "--total-num-mbufs=4096", "--rxd=512", "--txd=512"]
    ours = [sys.executable, "-m", "pollmode.testpmd", *eal, "-m", "64", *app]
    theirs = ["stdbuf", "-o0", "dpdk-testpmd", *eal, "-m", "256", *app]
    with tempfile.TemporaryDirectory(prefix="both-") as folder:
        runtime = {"RUNTIME_DIRECTORY": folder}
        return piped(ours, commands, runtime), piped(theirs, commands, runtime)


def compare(ours: list[str], theirs: list[str]) -> None:
    assert "\n".join(ours) == "\n".join(theirs)


@pytest.mark.parametrize(
    "commands",
    [SHOWING, WRONG, FORWARDING, CHOOSING, PORTS, RECEPTION],
    ids=["showing", "wrong", "forwarding", "choosing", "ports", "reception"],
)
def test_both_prompts_answer_alike(commands: str) -> None:
    compare(*both(commands + "quit\n", ["net_null0", "net_null1"]))


def test_both_tell_alike_of_ports_that_do_not_spread() -> None:
    compare(*both(SPREADING + "quit\n", ["net_ring0"]))


def test_both_describe_a_port_alike() -> None:
    """Line by line; the numbers, and what a driver adds, are each driver's own."""
    added = ("Device private info", "  rings:", "  devices on the rings:")
    ours, theirs = (
        [re.sub(r": [\d.]+$|0x[0-9a-f]+\(.*\)", ": N", line) for line in lines if not line.startswith(added)]
        for lines in both("show port info 0\nshow port info all\nquit\n", ["net_ring0", "net_ring1"])
    )
    compare(ours, theirs)


def test_both_end_alike_with_the_input_and_a_file_of_commands(tmp_path: Path) -> None:
    file = tmp_path / "commands"
    file.write_text("show port summary all\n# a comment\n\n  show   config\tcores  # and another\n")
    compare(*both(f"load {file}\nload /no/such/file\n", ["net_null0"]))
