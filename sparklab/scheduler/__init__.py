"""When and where: stages cut at shuffles, the job state machine and placement. Pure: no I/O, no clock, no thread."""
