# SPDX-License-Identifier: BSD-3-Clause
"""What is asked of a process, and the metrics that come of it: those of DPDK's exporter, and extended statistics.

DPDK's names do not end in `_total`, which the library puts behind the name of every counter; so what DPDK calls a
counter is told without a type. Prometheus treats both alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric, UnknownMetricFamily

from pollmode.eal.errors import HostError
from pollmode.eal.telemetry_client import TelemetryClient

__all__ = ["collect"]

_COUNTERS: Final = {
    "rx_packets": ("ipackets", "Number of successfully received packets."),
    "rx_bytes": ("ibytes", "Number of successfully received bytes."),
    "rx_missed": ("imissed", "Number of packets dropped because receive queues were full."),
    "rx_nombuf": ("rx_nombuf", "Number of failures to get an mbuf for a packet."),
    "rx_errors": ("ierrors", "Number of erroneous received packets."),
    "tx_packets": ("opackets", "Number of successfully sent packets."),
    "tx_bytes": ("obytes", "Number of successfully sent bytes."),
    "tx_errors": ("oerrors", "Number of packets that could not be sent."),
}


def collect(client: TelemetryClient) -> list[Metric]:
    """Ask a process, ours or DPDK's, for everything. Raises HostError when it does not answer or answers nonsense."""
    try:
        return [*_ports(client), *_lcores(client), *_memory(client)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = f"the process's answers are not those of DPDK's telemetry ({type(error).__name__}: {error})"
        raise HostError(told, mend="look at them with dpdk-telemetry.py") from error


def _ports(client: TelemetryClient) -> Iterable[Metric]:
    families = {
        name: UnknownMetricFamily(f"dpdk_counters_{name}", text, labels=["port"])
        for name, (_, text) in _COUNTERS.items()
    }
    extended = UnknownMetricFamily("dpdk_xstats", "Extended statistics of a port, by name.", labels=["port", "name"])
    for port in client.ask("/ethdev/list") or []:
        info, stats = client.ask("/ethdev/info", port), client.ask("/ethdev/stats", port)
        if info is None or stats is None:  # it was detached since
            continue
        for name, (key, _) in _COUNTERS.items():
            families[name].add_metric([info["name"]], int(stats[key]))
        for name, value in (client.ask("/ethdev/xstats", port) or {}).items():
            extended.add_metric([info["name"], name], int(value))
    return [*families.values(), extended]


def _lcores(client: TelemetryClient) -> Iterable[Metric]:
    labels = ["cpu", "numa"]
    total = UnknownMetricFamily("dpdk_cpu_total_cycles", "Total number of CPU cycles.", labels=labels)
    busy = UnknownMetricFamily("dpdk_cpu_busy_cycles", "Number of busy CPU cycles.", labels=labels)
    for number in client.ask("/eal/lcore/list") or []:
        lcore = client.ask("/eal/lcore/info", number) or {}
        if lcore.get("total_cycles") and lcore.get("cpuset"):
            values = [",".join(map(str, lcore["cpuset"])), str(lcore.get("socket", 0))]
            total.add_metric(values, int(lcore["total_cycles"]))
            busy.add_metric(values, int(lcore.get("busy_cycles", 0)))
    return total, busy


def _memory(client: TelemetryClient) -> Iterable[Metric]:
    """Tell the bytes of all pages that zones are on, and of the zones themselves."""
    total = used = behind = 0
    ranges = []
    for number in client.ask("/eal/memzone_list") or []:
        zone = client.ask("/eal/memzone_info", number)
        if zone is None:  # it was freed since
            continue
        used += int(zone["Length"])
        first = int(zone["Hugepage_base"], 16)
        ranges.append((first, first + int(zone["Hugepage_size"]) * int(zone["Hugepage_used"])))
    for first, end in sorted(ranges):
        total += max(end - max(first, behind), 0)
        behind = max(behind, end)
    yield GaugeMetricFamily("dpdk_memory_total_bytes", "The total size of reserved memory in bytes.", total)
    yield GaugeMetricFamily("dpdk_memory_used_bytes", "The currently used memory in bytes.", used)
