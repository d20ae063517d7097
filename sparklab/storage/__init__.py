"""Blocks on one executor: storage levels, the memory store, the disk tier and what a cached record is."""
