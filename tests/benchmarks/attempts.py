"""Why a row falls short of its goal, and what was tried: printed below a goal only where a run has missed it."""

from __future__ import annotations

from typing import Final

_CACHE = (
    "a query over cached blocks is a few milliseconds of the user's functions beside the fixed cost of a job, its "
    "messages and its tasks. Tried: tasks over cached partitions go several in a message before it is known how long "
    "they take (16 small partitions: 10.5 to 4.5 ms of CPU), short ones in one message to each executor; messages go "
    "over a Unix socket between one thread on either side (two thirds of what they took); the types of cached strings "
    "are looked at once, small arrays enter the cache in half the time."
)

# By workload and step ("memory" for a goal of memory); by part of growth; by row of watching.
ATTEMPTS: Final[dict[tuple[str, str], str]] = {
    ("log_mining", "first query"): (
        "of a line, taking half of the lines into the cache costs 20 ns (exact types, bytes counted, batches), blocks "
        "and counters 5. The rest is 16 tasks, each a message of its own as nobody knows how long they take, at nearly "
        "a millisecond of driver and executor, 2 on a loaded machine. Tried: messages over a Unix socket between one "
        "thread on either side (a job of two short tasks 2.9 to 1.9 ms of CPU, with cold caches 5.3 to 4.0; kept); "
        "filter and map in one compiled loop (12 ns a line less; kept) that holds the user's functions (23 ns less; "
        "kept); decoding text where it was read instead of copying it first (no difference, dropped); fewer calls for "
        "a look at the process's memory (kept). Pages touched are as many as the bound's: the cached lines."
    ),
    ("log_mining", "later queries"): _CACHE,
    ("logistic_regression_rows", "fit"): (
        "of a record and step the user's function and the sum take nearly all; 50 ns make a view of the cached row, in "
        "C, and taking it into the cache costs 240 once; nearly a millisecond a message, 2 on a loaded machine, and 34 "
        "messages a fit at least. Tried: map and reduce in one loop that holds the gradient and the addition (1,226 to "
        "1,171 ns a record and step; kept); messages over a Unix socket between one thread on either side (all of a "
        "fit beside the two threads of its tasks: 160 to 250 ms of CPU before, 96 to 145 now; kept); tasks over cached "
        "partitions sent together (2 messages a step, not 16; kept); rows joined as bytes (290 ns a record, not 490; "
        "kept); numbers looked at once (240; kept); a look at the memory 20 times a second that lets no other thread "
        "in (1 % less; kept). The same views at each reading would save the 50, but what one task does to the shape of "
        "its row another would see."
    ),
    ("logistic_regression_blocks", "fit"): (
        "nearly all of it is the user's functions and the first touch of the memory for 320 MB of points. Tried: "
        "arrays that nobody else can reach are cached without a copy (2.1 to 1.8 s of CPU at five steps; kept)."
    ),
    ("page_rank", "ranks"): (
        "an iteration is two stages of short tasks with an exchange between them, of which the bound has neither the "
        "tasks nor the messages. Tried: the cyclic collector is held off in large stages of objects (1.36 to 1.24 "
        "times the bound in full size), short tasks share messages."
    ),
    ("sort_by_key", "sort"): (
        "most is the user's parser and the objects of 5 M records. Tried: runs as two columns, whole numbers with text "
        "sorted and moved in columns without pickling or touching an object out of turn (3.6 to 6.0 times less CPU "
        "than PySpark at a quarter of the size)."
    ),
    ("start", "first result"): (
        "more than half is importing the libraries in the driver and in each executor, on two cores at the same time. "
        "Tried: executors are forked from a launcher that has imported them once, all of it begins in the background "
        "when the context is made."
    ),
    ("growth", "data"): (
        "a join at 16 times the data has 64 x 64 pieces of 240 records where it had 4 x 4, each opened, read and "
        "unpickled by itself: 3 to 4 % by function; the rest is spread over the user's functions, which run slower as "
        "the processes hold more than the processor's cache. Tried: small map outputs are divided in memory only "
        "where that pays, and a side's all at once (1.44 to 1.1-1.2 times the cost per unit)."
    ),
    ("watching", "page_rank"): (
        "22 stages in a second or two: a picture of them costs 3 to 5 ms, the last one of a cell 10 to 20 with the "
        "twin that is kept in the notebook, and TLS about a millisecond a stage, whatever the data's size. Tried: the "
        "plan is folded anew only when stages end (3.3 to 2.3 ms a picture), widths of texts are kept, pictures rest "
        "49 times as long as they took."
    ),
}
