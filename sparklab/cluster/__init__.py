"""The only folder that knows Dask: launching, attaching, running tasks and carrying blocks."""
