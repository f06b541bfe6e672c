"""Fails if an object file compiled for one instruction set defines a shared function outside of its namespaces."""

from __future__ import annotations

import subprocess
import sys

isa, *objects = sys.argv[1:]
listing = subprocess.run(
    ["nm", "-C", "--defined-only", *objects], check=True, capture_output=True, text=True
).stdout
weak = [line for line in listing.splitlines() if " W " in line or " V " in line or " u " in line]
leaks = [line for line in weak if isa not in line and "DW.ref." not in line]
print("\n".join(leaks) or f"{isa}: no leak among {len(weak)} shared symbols")
sys.exit(bool(leaks))
