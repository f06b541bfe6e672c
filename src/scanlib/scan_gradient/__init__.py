"""Derivatives of scans (D10): the reverse of a scan is a scan, and so is its forward-mode derivative."""

from .forward import forward
from .reverse import reverse

__all__ = ["forward", "reverse"]
