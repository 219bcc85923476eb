# SPDX-License-Identifier: BSD-3-Clause
"""Forward modes as compiled loops, each made for exactly what was switched on.

An engine is a step repeated over streams. A step receives, edits and sends one burst, or makes and sends one; what is
switched off (burst statistics, cycles, retry) is not in its code. `make` puts one together.
"""

from pollmode.testpmd.engines.catalogue import Engine, Features, make

__all__ = ["Engine", "Features", "make"]
