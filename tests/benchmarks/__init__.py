"""Benchmarks: the same user functions on sparklab, in two plain processes, on PySpark and on dask.bag.

``python -m tests.benchmarks quick`` takes about two minutes, ``full`` twenty. Every system runs in a process of its
own (`child`), which does what the harness says line by line (`protocol`); they take turns at each workload (`harness`).
Before and after each step the harness reads the CPU time of the whole process tree (`process_tree`). Answers are
compared between the systems; a wrong one fails the run. Inputs come from seeded generators and are kept in a folder of
the system's directory for temporary files (`inputs`).

``make bench`` runs `whole`: the full comparison, `growth` and `watching`, each in a process of its own, and a last line
for all. Reports are written as rows end. A row that misses its goal has a profile (`profiles`) and, where somebody has
looked into it, the reason and what was tried (`attempts`).

A new workload is one module in `workloads` with a `Workload` and an entry in ``workloads.NAMES``; its title stands in
`report`, its goal in `goals`. A new system is one module in `systems`.
"""
