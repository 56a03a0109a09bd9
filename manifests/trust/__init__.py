"""Whom a device believes: offline keys say what may run, an online key chooses among it, and neither can do the other's part."""
