# SPDX-License-Identifier: BSD-3-Clause
"""How Sphinx builds the pages: plain Markdown."""

project = "Pollmode"
copyright = "2026, the Pollmode developers"  # Sphinx's name
extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "alabaster"
exclude_patterns = ["_build"]
# Links to files of the repository are for readers there.
suppress_warnings = ["myst.xref_missing"]
