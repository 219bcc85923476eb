# SPDX-License-Identifier: BSD-3-Clause
"""Finding the driver of a device by its name, among the installed packages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from pollmode.eal.errors import ConfigError, nearest

from .driver import VdevDriver

__all__ = ["GROUP", "Registry"]

GROUP = "pollmode.vdev"


class Registry:
    """The installed drivers. A driver's package is imported when a device of it is asked for, not before."""

    def __init__(self, installed: Iterable[EntryPoint] | None = None) -> None:
        found = entry_points(group=GROUP) if installed is None else installed
        self._installed = {point.name: point for point in found}
        self._loaded: dict[str, VdevDriver] = {}

    def names(self) -> list[str]:
        """Return the drivers' names, without their aliases."""
        return sorted(self._installed)

    def find(self, device: str) -> VdevDriver:
        """Return the driver of a device such as "net_null0". Raises ConfigError when there is none."""
        stem = re.sub(r"\d*$", "", device)
        if stem in self._installed:
            return self._load(stem)
        for name in self._installed:
            driver = self._load(name)
            if stem in driver.aliases:
                return driver
        names = sorted({word for driver in self._loaded.values() for word in (driver.name, *driver.aliases)})
        raise ConfigError(
            f"no driver found for {device}{nearest(stem, names)}; "
            f"a device is called by its driver's name and a number: {', '.join(names) or 'no driver is installed'}"
        )

    def _load(self, name: str) -> VdevDriver:
        if name not in self._loaded:
            driver = self._installed[name].load()
            if not isinstance(driver, VdevDriver) or driver.name != name:
                raise ConfigError(f"entry point {name} in {GROUP} does not name a VdevDriver called {name}")
            self._loaded[name] = driver
        return self._loaded[name]
