# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's commands that are not here, and why: the prompt says it, and the page of commands lists it.

A form is the beginning of such a command; whatever follows belongs to it. Those of DPDK 22.11 are complete.
"""

from __future__ import annotations

__all__ = ["MISSING"]

MISSING: dict[str, tuple[str, ...]] = {
    "forward modes that are not part of this release": ("set fwd {noisy|ieee1588|tm|shared_rxq|recycle_mbufs}",),
    "devices come by port attach alone, and are set up at once": ("set port setup on {iterator|event}",),
    "speeds are device arguments": ("port config {port|all} speed",),
    "no driver has a loopback mode": ("port config {port|all} loopback", "set tx loopback {port}"),
    "receive coalescing is not part of this release": ("port config all max-lro-pkt-size",),
    "no driver frees sent packets at command": ("port cleanup {port} txq {queue}",),
    "no driver has traffic classes": (
        "port config {port} dcb",
        "show port dcb_tc {port|all}",
        "set {pfc_ctrl|pfc_queue_ctrl}",
        "set tc tx min-bandwidth {port}",
        "set tx strict-link-priority {port}",
    ),
    "no driver has flow control": (
        "set flow_ctrl",
        "show port {port} flow_ctrl",
        "set port {port} rxq {queue} avail_thresh",
    ),
    "no driver has such VLAN functions": (
        "vlan set stripq {on|off}",
        "vlan set {inner|outer} tpid",
        "tx_vlan set pvid {port}",
        "tx_vlan set {port} {vlan:u16} {outer:u16}",
    ),
    "splitting received packets over buffers needs a driver that can do it": ("set {rxoffs|rxpkts|rxhdrs}",),
    "generated packets have the segments of set txpkts, and are sent without gaps": ("set {txsplit|txtimes}",),
    "tunnels are not part of this release": (
        "csum parse-tunnel {on|off} {port}",
        "tunnel_tso {set|show}",
        "rx_vxlan_port {add|rm}",
        "port config {port} udp_tunnel_port",
    ),
    "forward mode csum sends from its port's own address": ("csum mac-swap {on|off} {port}",),
    "packets are not joined or cut in software": (
        "set port {port} {gro|gso}",
        "show port {port} {gro|gso}",
        "set gro flush",
        "set gso segsz",
    ),
    "no driver has virtual functions": (
        "set vf",
        "{show|clear} vf stats",
        "set port {port} vf",
        "mac_addr add port {port} vf",
        "rx_vlan {add|rm} {vlan:u16} port {port} vf",
        "set all queues drop {port}",
        "show port info {port} representor",
    ),
    "no driver has a hash table of unicast addresses": ("set port {port} uta",),
    "no driver limits rates": ("set port {port} queue {queue} rate",),
    "no device has such a memory": ("show port {port} {module_eeprom|eeprom}",),
    "DPDK 22.11 takes it and does nothing": (
        "clear port {info|summary|fdir|dcb_tc} {port|all}",
        "show port fdir {port|all}",
        "read {rxd|txd} {port} {queue}",
    ),
    "flow rules are not part of this release": (
        "flow",
        "flow_director_filter",
        "show port {port} flow transfer proxy",
        "set {raw_encap|raw_decap|sample_actions|flex_pattern|conntrack}",
        "show {raw_encap|raw_decap}",
        "set {vxlan|vxlan-tos-ttl|vxlan-with-vlan|nvgre|nvgre-with-vlan}",
        "set {l2_encap|l2_encap-with-vlan|l2_decap|l2_decap-with-vlan}",
        "set {mplsogre_encap|mplsogre_encap-with-vlan|mplsogre_decap|mplsogre_decap-with-vlan}",
        "set {mplsoudp_encap|mplsoudp_encap-with-vlan|mplsoudp_decap|mplsoudp_decap-with-vlan}",
    ),
    "traffic management needs a driver that has it": (
        "{add|del|set|show|suspend|resume} port tm",
        "port tm hierarchy commit",
        "{add|del|set|show|get|create|enable|disable} port meter",
    ),
    "packets carry no dynamic fields": (
        "port config {port} {tx_metadata|dynf}",
        "show port {port} tx_metadata",
    ),
    "no device has forward error correction": (
        "show port {port} fec capabilities",
        "show port {port} fec_mode",
        "set port {port} fec_mode",
    ),
    "no driver finds out packet types: testpmd parses packets itself": ("set port {port} ptype_mask",),
    "there is no bonding driver": (
        "{set|show} bonding",
        "{add|remove} bonding slave",
        "create bonded device",
    ),
    "a packet function is a compiled Python function here: see the examples": ("{bpf-load|bpf-unload}",),
    "a command of a driver that is not part of this project": (
        "{ddp|ptype|mlx5}",
        "{set|show} port {port} queue-region",
        "show port {port} pctype mapping",
        "port config {port} pctype",
        "set macsec",
        "port config bypass {port}",
        "{set|show} bypass",
    ),
    "newer than DPDK 22.11, and no driver has it": (
        "set dev_led",
        "{show|set} port {cman|speed_lanes}",
        "{show|set} port {port} {cman|speed_lanes}",
    ),
    "there are no trace points: see --log-level and perf": ("dump_trace", "trace"),
}
"""Beginnings of commands by the reason why they are not here."""
