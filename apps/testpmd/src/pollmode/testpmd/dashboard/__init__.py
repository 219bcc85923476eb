# SPDX-License-Identifier: BSD-3-Clause
"""The full-screen dashboard (`testpmd -- --tui`). Reading order: `observer` (what is read of a session; with
`history` and `losses`), the views `ports`, `overview`, `queues`, `drops`, `cores` (text out of it; with `figures`,
`graph` and `lines`), `messages`, `app` (keys and screen), `terminal` (taking and giving back the terminal).
"""
