# SPDX-License-Identifier: BSD-3-Clause
# Receive packets, print what they are, send them back, until 32 are sent: first.py [EAL options such as --vdev]
import sys

from pollmode import bus_vdev, eal, ethdev, mbuf

with eal.Environment.start(sys.argv[1:] or ["--no-huge", "--vdev", "net_null0,copy=1"]) as environment:
    environment.on_close((ports := ethdev.Ports(environment)).close)
    port, burst = bus_vdev.VdevBus(environment, ports).probe_all()[0], mbuf.Burst(8)
    port.configure(1, 1)
    port.setup_rx_queue(0, 0, mbuf.create_pool(environment.memory, "mbufs", 4096))
    port.setup_tx_queue(0, 0)
    port.start()
    while port.stats().opackets < 32:
        port.rx(0, burst)
        for frame in [packet.data for packet in burst]:
            print(f"{frame[6:12].hex(':')} > {frame[:6].hex(':')}, type {frame[12:14].hex()}, {len(frame)} bytes")
        port.tx(0, burst)
        burst.free()
