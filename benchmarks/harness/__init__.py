"""The measuring half of the benchmarks: children, packages, statistics and the report."""
