# SPDX-License-Identifier: BSD-3-Clause
"""A packet function of your own, compiled: packet_function.py [SECONDS] [EAL options such as --vdev].

`turn` decides what happens to a packet: it is plain Python over addresses, and numba compiles it into the loop that an
lcore runs. The interpreter only sets up, prints once a second, and stops. Change `turn` and start again: whatever it
calls out of `pollmode.net` and `pollmode.mbuf` is compiled in with it.

By default the port is a ring in memory, with 256 packets in it that go round and round.
"""

import sys
import time

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.eal.jit import compile_now, compiled, inlined, load16, load64, load_relaxed64, store64
from pollmode.eal.lcore import LCORE_STOP
from pollmode.ethdev import Port, Ports, rx_burst, tx_burst
from pollmode.mbuf import MBUF_DATA_LEN, Burst, Packet, create_pool, mbuf_data, mbuf_free, mbuf_free_bulk
from pollmode.net.ethernet import ETHERNET_SIZE, TYPE_IPV4, ethernet_type, swap_ethernet

BURST = 32
DEFAULT = ["--no-huge", "--vdev", "net_ring0"]
FRAME = bytes.fromhex("020000000002 020000000001 0800") + bytes(46)


@inlined
def turn(frame: int, length: int) -> int:
    """Send IPv4 back to where it came from: 1 keeps the packet, 0 drops it."""
    if length < ETHERNET_SIZE or ethernet_type(frame) != TYPE_IPV4:
        return 0
    swap_ethernet(frame)
    return 1


@compiled
def loop(lcore: int, dispatch: int, port: int, burst: int) -> int:
    """Receive, apply `turn`, send, until the lcore is told to stop; returns how many packets were dropped."""
    dropped = 0
    while load_relaxed64(lcore + LCORE_STOP) == 0:
        received = rx_burst(lcore, dispatch, port, 0, burst, BURST)
        kept = 0
        for i in range(received):
            m = load64(burst + 8 * i)
            if turn(mbuf_data(m), load16(m + MBUF_DATA_LEN)) == 1:
                store64(burst + 8 * kept, m)
                kept += 1
            else:
                mbuf_free(lcore, m)
        sent = tx_burst(lcore, dispatch, port, 0, burst, kept) if kept > 0 else 0
        mbuf_free_bulk(lcore, burst + 8 * sent, kept - sent)
        dropped += received - sent
    return dropped


def started(environment: Environment, ports: Ports) -> Port:
    """Return the first port of the command line, started; a ring in memory gets packets to turn."""
    pool = create_pool(environment.memory, "mbufs", 4096)
    port: Port = VdevBus(environment, ports).probe_all()[0]
    port.configure(1, 1)
    port.setup_rx_queue(0, 0, pool)
    port.setup_tx_queue(0, 0)
    port.start()
    if port.name.startswith("net_ring"):
        port.tx(0, Burst.of([Packet.alloc(pool, FRAME) for _ in range(256)]))
    return port


def main(words: list[str]) -> int:
    """Run for a number of seconds and print the rate of each."""
    seconds = int(words.pop(0)) if words and words[0].isdecimal() else 5
    with Environment.start(words or DEFAULT) as environment:
        ports = Ports(environment)
        environment.on_close(ports.close)
        port = started(environment, ports)
        burst, lcores = Burst(BURST), environment.lcores
        compile_now(loop, 4)  # else the lcore does it, and the first seconds show nothing
        lcores.launch(lcores.main.id, loop, ports.dispatch, port.id, burst.address)
        before = 0
        for _ in range(seconds):
            time.sleep(1)
            sent = port.stats().opackets
            print(f"{(sent - before) / 1e6:.2f} Mpps", flush=True)
            before = sent
        lcores.stop()
        print(f"{port.stats().opackets} packets turned, {lcores.wait(lcores.main.id)} dropped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
