"""Headwater: a data and model lakehouse whose every version is one audited lake commit."""

__version__ = "0.1.0"
