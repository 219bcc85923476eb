# SPDX-License-Identifier: BSD-3-Clause
"""Which of the two ways compiled code runs in this process; decided once, by numba's own variable."""

import os

INTERPRETED: bool = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
"""True when compiled code runs as plain Python and every verb is its Python twin (`NUMBA_DISABLE_JIT=1`)."""

BOUNDS_CHECKED: bool = os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0")
"""True when every array access of compiled code is checked (`NUMBA_BOUNDSCHECK=1`)."""
