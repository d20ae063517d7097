"""Benchmarks: the same user functions on sparklab, in two plain processes, on PySpark and on dask.bag."""
