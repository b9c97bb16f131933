"""The speed bars, measured: what is measured is in `harness`, what it is measured against in `peers`."""
