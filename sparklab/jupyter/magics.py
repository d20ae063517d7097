"""``%sparklab``: one dispatcher for everything that can be said about a context from a cell."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sparklab.jupyter import background, debugging, explain, hands, reports, surfaces
from sparklab.jupyter.cells import LINE_FILE, Cells
from sparklab.jupyter.commands import LEVELS, Commands
from sparklab.jupyter.kinds import advice_for, kind_of
from sparklab.jupyter.lines import line_rows, nothing_found
from sparklab.jupyter.parsers import EXPRESSIONS, CommandError, HelpShown, cell_parser, overview, parser_of
from sparklab.jupyter.skew import job_of, skew, verdict
from sparklab.jupyter.transform import MARKED_LINE
from sparklab.nearness import did_you_mean
from sparklab.quantities import plural
from sparklab.rdd.rdd import RDD
from sparklab.storage.level import StorageLevel

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from sparklab.context import SparkContext
    from sparklab.events.run import Run

Rows = list[dict[str, Any]]


class Magics:
    """The line magic ``%sparklab`` of one shell."""

    def __init__(self, shell: InteractiveShell, cells: Cells) -> None:
        self.shell = shell
        self.cells = cells

    def install(self) -> None:
        """``%sparklab`` and ``%%sparklab`` can be written."""
        manager = self.shell.magics_manager
        manager.register_function(self.line, "line", "sparklab")
        manager.register_function(self.cell, "cell", "sparklab")

    def uninstall(self) -> None:
        """The names are free again."""
        for kind in ("line", "cell"):
            self.shell.magics_manager.magics[kind].pop("sparklab", None)

    def line(self, line: str) -> None:
        """Say something about the context, or do something to it: `%sparklab --help` lists what."""
        words = line.split(None, 1)
        if not words or words[0] in ("--help", "-h", "help"):
            print(overview())
            return
        subcommand, rest = words[0], words[1].strip() if len(words) > 1 else ""
        try:
            if subcommand == MARKED_LINE:
                self._mark(cell_parser().parse_line(rest))
                return
            parser = parser_of(subcommand)
            if subcommand in EXPRESSIONS and rest and rest.split()[0] not in ("-h", "--help"):
                options = Namespace(rdd=rest)
            else:
                options = parser.parse_line(rest)
        except HelpShown:
            return
        result = self._acts[subcommand](self, options)
        name = getattr(options, "out", None)
        if name and subcommand != "start":
            self.shell.user_ns[name] = result

    def cell(self, line: str, body: str) -> None:
        """Run this cell with the full panel from the start, as a named run: `%%sparklab --help` lists the options."""
        try:
            options = cell_parser().parse_line(line)
        except HelpShown:
            return
        if options.background:
            background.begin(self.cells, options, body)
            return
        raise CommandError(
            "running a cell with `%%sparklab`",
            "it was reached as a cell magic, so the body would not run as a cell of its own",
            "write `%%sparklab` on the first line of a cell (below `%%time`, if that is wanted)",
        )

    def _mark(self, options: Namespace) -> None:
        if options.background:
            raise CommandError(
                "running a cell in the background",
                "`--background` came out of a variable, when the cell's lines were read already",
                "write `%%sparklab --background` itself on the cell's first line",
            )
        self.cells.mark(options)

    # --- session ------------------------------------------------------------------------------------------

    def _start(self, options: Namespace) -> None:
        from sparklab.conf import SparkConf
        from sparklab.context import SparkContext

        running = SparkContext._active
        if running is not None:
            if options.master not in (None, running.master):
                raise CommandError(
                    f"starting a context on {options.master}",
                    f"one is running on {running.master}",
                    "`%sparklab stop` first",
                )
            self.shell.user_ns[options.out] = running
            print(f"Already running: {running.appName} on {running.master}, bound to `{options.out}`.")
            return
        conf = SparkConf()
        for setting in options.conf:
            key, equals, value = setting.partition("=")
            if not equals:
                raise CommandError("reading `%sparklab start --conf`", f"{setting!r} has no `=`", "write KEY=VALUE")
            conf.set(key, value)
        sc = SparkContext(master=options.master, appName=options.name or "notebook", conf=conf)
        self.shell.user_ns[options.out] = sc
        sc._bound_to = options.out
        print(f"Starting {sc.appName} on {sc.master}, bound to `{options.out}`; the first action waits for it.")

    def _stop(self, options: Namespace) -> None:
        sc = self.context("stopping the context")
        surfaces.freeze_all(self.shell)
        sc.stop()
        print(f"Stopped {sc.appName} on {sc.master}.")

    def _status(self, options: Namespace) -> dict[str, Any]:
        status = reports.status(self.context("asking for the status"))
        print(reports.status_text(status))
        return status

    def _doctor(self, options: Namespace) -> Rows:
        from sparklab import doctor

        findings = doctor.examine()
        print(doctor.report(findings))
        return [dataclasses.asdict(finding) for finding in findings]

    def _config(self, options: Namespace) -> Rows:
        return _printed(reports.config(self.context("listing the settings")), "No setting has been made.")

    def _auto(self, options: Namespace) -> None:
        if options.mode is not None:
            self.cells.auto = options.mode
        meaning = {"on": "with the first job", "slow": "after 0.5 s of a running action", "off": "never"}
        print(f"auto {self.cells.auto}: the strip under a plain cell comes {meaning[self.cells.auto]}.")

    # --- inspect ------------------------------------------------------------------------------------------

    def _dag(self, options: Namespace) -> None:
        surfaces.show_lineage(self.shell, self._rdd(options.rdd))

    def _explain(self, options: Namespace) -> None:
        print(explain.text_of(self._rdd(options.rdd)))

    def _jobs(self, options: Namespace) -> Rows:
        return _printed(reports.jobs(self.context("listing the jobs")), "No job has run yet.")

    def _cache(self, options: Namespace) -> Rows:
        sc = self.context("asking what is cached")
        rows = _printed(reports.cache(sc), "Nothing is cached: rdd.persist() keeps an RDD when it is next computed.")
        if rows:
            print(f"\n{reports.budget_text(sc)}")
        return rows

    def _executors(self, options: Namespace) -> Rows:
        sc = self.context("listing the executors")
        return _printed(reports.executors(sc), f"No executor yet: the context is {sc.state}.")

    def _show(self, options: Namespace) -> None:
        from IPython.display import display

        if not options.run:
            sc = self.context("showing the last run")
            display(sc.lastRun)  # type: ignore[no-untyped-call]
            return
        display(self._run(options.run))  # type: ignore[no-untyped-call]

    def _compare(self, options: Namespace) -> Rows:
        return _printed(reports.compared(options.runs, [self._run(name) for name in options.runs]), "")

    def _timeline(self, options: Namespace) -> None:
        sc = self.context("showing a job in time")
        with sc.bus.lock:
            job = job_of(sc.bus.views, options.past_job).job
        surfaces.show_timeline(self.shell, sc, job)

    def _skew(self, options: Namespace) -> Rows:
        sc = self.context("asking how evenly the work was spread")
        with sc.bus.lock:
            rows = skew(sc.bus.views, job_of(sc.bus.views, options.past_job))
        _printed(rows, "This job ran no stage: all that it needed was there.")
        if rows:
            print(f"\n{verdict(rows)}")
        return rows

    def _profile(self, options: Namespace) -> Rows:
        sc = self.context("asking where the time of a job went")
        with sc.bus.lock:
            job = job_of(sc.bus.views, options.past_job).job
        return _printed(line_rows(sc.line_samples.of(job)), nothing_found(job, sc.master))

    # --- act ----------------------------------------------------------------------------------------------

    def _persist(self, options: Namespace) -> None:
        rdd, level = self._rdd(options.rdd), LEVELS[options.level]
        self._changes().before_a_level(rdd)
        if rdd.storage_level not in (StorageLevel.NONE, level):
            rdd.unpersist(blocking=True)
        rdd.persist(level)
        print(f"{reports.rdd_name(rdd)} is kept ({options.level}) when it is next computed.")

    def _unpersist(self, options: Namespace) -> None:
        rdd = self._rdd(options.rdd)
        self._changes().before_a_level(rdd)
        rdd.unpersist(blocking=True)
        print(f"{reports.rdd_name(rdd)} is no longer kept.")

    def _drop_partition(self, options: Namespace) -> None:
        sc, rdd = self.context("dropping a partition"), self._rdd(options.rdd)
        count = len(rdd.partitions)
        if not 0 <= options.partition < count:
            raise CommandError(
                f"dropping partition {options.partition} of {reports.rdd_name(rdd)}",
                f"it has {plural(count, 'partition')}",
                f"give an index from 0 to {count - 1}",
            )
        if not sc.drop_partition(rdd, options.partition):
            print(f"Partition {options.partition} of {reports.rdd_name(rdd)} is not cached: there was nothing to drop.")
            return
        print(f"Dropped partition {options.partition} of {reports.rdd_name(rdd)}; it is computed again when needed.")

    def _cancel(self, options: Namespace) -> None:
        sc = self.context("cancelling a job")
        running = reports.running_jobs(sc)
        if options.job == "all":
            sc.cancelAllJobs()
            print(f"Cancelled {plural(len(running), 'job')}.")
            return
        if options.job not in running:
            names = ", ".join(map(str, running)) or "none"
            raise CommandError(f"cancelling job {options.job}", f"running jobs: {names}", "`%sparklab jobs` lists them")
        sc.cancelJob(options.job, "cancelled by %sparklab cancel")
        print(f"Cancelled job {options.job}.")

    def _kill_executor(self, options: Namespace) -> None:
        sc = self.context("killing an executor")
        infos = {info.executor: info for info in sc.executorInfos()}
        if options.executor not in infos:
            raise CommandError(
                f"killing executor {options.executor}",
                f"executors: {', '.join(map(str, sorted(infos))) or 'none yet'}",
                "`%sparklab executors` lists them",
            )
        held = reports.held_by(sc, options.executor)
        if options.stay_dead:
            self._changes().before_a_death()
        sc.kill_executor(options.executor, stay_dead=options.stay_dead)
        after = "it stays dead" if options.stay_dead else "a new process takes its place"
        print(f"Killed executor {options.executor}: {held} went with it; {after}.")

    def _reset(self, options: Namespace) -> None:
        print(self._changes().handle({"cmd": "reset"})["text"])

    def _freeze(self, options: Namespace) -> None:
        count = surfaces.freeze_all(self.shell)
        pictures = "a picture" if count == 1 else "pictures"
        print(f"{plural(count, 'panel')} left as {pictures}." if count else "No panel is live: nothing to freeze.")

    # --- teaching -----------------------------------------------------------------------------------------

    def _replay(self, options: Namespace) -> None:
        from sparklab.jupyter import playback

        playback.replay(self.shell, options.file, options.cell, options.pace, options.speed)

    def _report(self, options: Namespace) -> None:
        from sparklab.jupyter import playback

        if not options.file.lower().endswith((".html", ".htm")):
            found = f"{options.file!r} has no ending .html, by which browsers know a page"
            raise CommandError("writing a report", found, f"`%sparklab report {options.file}.html`")
        print(playback.report(options.file, options.journal, options.cell, options.title))

    _acts: Final[dict[str, Callable[[Magics, Namespace], Any]]] = {
        "start": _start,
        "stop": _stop,
        "status": _status,
        "dag": _dag,
        "explain": _explain,
        "jobs": _jobs,
        "show": _show,
        "timeline": _timeline,
        "skew": _skew,
        "profile": _profile,
        "debug": debugging.debug,
        "cache": _cache,
        "executors": _executors,
        "persist": _persist,
        "unpersist": _unpersist,
        "drop-partition": _drop_partition,
        "cancel": _cancel,
        "kill-executor": _kill_executor,
        "config": _config,
        "compare": _compare,
        "reset": _reset,
        "auto": _auto,
        "train": hands.train,
        "staleness": hands.staleness,
        "straggler": hands.straggler,
        "ps": hands.servers,
        "kill-server": hands.kill_server,
        "add-server": hands.add_server,
        "replay": _replay,
        "report": _report,
        "freeze": _freeze,
        "doctor": _doctor,
    }

    def _changes(self) -> Commands:
        return surfaces.commands_of(self.context("changing something by hand"))

    # --- what the words mean ------------------------------------------------------------------------------

    def context(self, attempted: str) -> SparkContext:
        """The running context.

        Raises
        ------
        CommandError
            There is none to do what was `attempted` with.
        """
        from sparklab.context import SparkContext

        if SparkContext._active is None:
            raise CommandError(attempted, "no context is running", "`%sparklab start`, or sc = SparkContext(...)")
        return SparkContext._active

    def _run(self, name: str) -> Run:
        from sparklab.events.run import Run

        names = self.shell.user_ns
        run = names.get(name)
        if isinstance(run, background.BackgroundCell):
            return run.run
        if not isinstance(run, Run):
            found = f"it is {kind_of(run)}" if name in names else "no such variable"
            known = [] if name in names else self._holding(Run, background.BackgroundCell)
            do = did_you_mean(name, known, then="`%%sparklab -o NAME` binds a cell's Run")
            raise CommandError(f"looking for the run {name}", found, do)
        return run

    def _holding(self, *kinds: type) -> list[str]:
        """The variables of the user's that hold one of `kinds`."""
        names = self.shell.user_ns.items()
        return [name for name, value in names if isinstance(value, kinds) and not name.startswith("_")]

    def _rdd(self, text: str) -> RDD:
        if text.isdecimal():
            found = self.context(f"looking for RDD {text}").rdd_by_id(int(text))
            if not isinstance(found, RDD):
                raise CommandError(f"looking for RDD {text}", "no living RDD has this number", "give a variable")
            return found
        try:
            # Compiled under a name of its own, by which call sites know the cell.
            code = compile(text, LINE_FILE, "eval")
            value = eval(code, self.shell.user_global_ns, self.shell.user_ns)
        except Exception as error:
            unknown = (error.name or "") if isinstance(error, NameError) else ""
            do = "give a variable that holds an RDD, an expression, or an RDD's number"
            raise CommandError(
                f"looking for the RDD `{text}`",
                f"{type(error).__name__}: {error}",
                did_you_mean(unknown, self._holding(RDD), then=do),
            ) from error
        if not isinstance(value, RDD):
            raise CommandError(
                f"looking for the RDD `{text}`",
                f"it is {kind_of(value)}, not an RDD",
                advice_for(value),
            )
        return value


def _printed(rows: Rows, nothing: str) -> Rows:
    print(reports.rows_text(rows) if rows else nothing)
    return rows
