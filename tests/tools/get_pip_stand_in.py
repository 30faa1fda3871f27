# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bootstraps pip for ansible-test from the interpreter's own ensurepip.

ansible-test downloads a script for that from one fixed host, which a machine behind a company's proxy or
mirror does not reach. It uses what lies in its cache under the script's name; there this file is copied to.
"""

from __future__ import annotations

import ensurepip
import os
import subprocess
import sys

ensurepip.bootstrap()
# ansible-test points this at nothing, to keep the user's settings out; they say where packages come from.
os.environ.pop("PIP_CONFIG_FILE", None)
packages = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *packages]))
