"""The kernel "SparkLab (Python)": installed by the command line, started by name, also from another environment."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from sparklab import SparkContext
from sparklab.commands import main
from sparklab.jupyter import kernel as kernel_extension
from tests.jupyter.kernels import DEADLINE_S, Kernel, environment_with, started


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefix")
    assert main(["install-kernel", "--prefix", str(folder)]) == 0
    return folder


def _environment(prefix: Path) -> dict[str, str]:
    return environment_with(JUPYTER_PATH=str(prefix / "share" / "jupyter"))


@contextmanager
def _started(prefix: Path) -> Iterator[Kernel]:
    specs = KernelSpecManager(kernel_dirs=[str(prefix / "share" / "jupyter" / "kernels")])
    manager = KernelManager(kernel_name="sparklab", kernel_spec_manager=specs)
    with started(manager, _environment(prefix)) as running:
        yield running


def test_the_kernel_makes_sc_at_its_first_mention_and_not_before(prefix: Path) -> None:
    with _started(prefix) as kernel:
        assert kernel.ok("'sc' in globals()").value == "False"
        assert kernel.ok("def double(n):\n    return 2 * n").status == "ok"
        assert kernel.ok("'sc' in globals()").value == "False"
        assert kernel.ok("sc.parallelize(range(10), 2).map(double).sum()").value == "90"
        assert kernel.ok("%sparklab status").status == "ok"
        assert kernel.ok("import os; os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS']").value == (
            "('1', '1')"
        )
        completed = kernel.client.complete("%sparklab kill-e", reply=True, timeout=DEADLINE_S)["content"]["matches"]
        assert completed == ["kill-executor"]
        banner = kernel.client.kernel_info(reply=True, timeout=DEADLINE_S)["content"]["banner"]
        assert "SparkLab" in banner
        kernel.ok("sc.stop()")


def test_the_specification_names_its_interpreter_by_an_absolute_path(prefix: Path) -> None:
    folder = prefix / "share" / "jupyter" / "kernels" / "sparklab"
    written = json.loads((folder / "kernel.json").read_text())
    assert written["argv"][0] == sys.executable
    assert Path(written["argv"][0]).is_absolute()
    assert written["display_name"] == "SparkLab (Python)"
    assert (folder / "logo-svg.svg").read_bytes().startswith(b"<svg")


def test_another_environment_starts_the_kernel_with_sparklabs_own_python(prefix: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "other", symlinks=True)
    other = tmp_path / "other" / "bin" / "python"
    # jupyter_client is lent to it by a path; its interpreter, which is what could be taken by mistake, is its own.
    program = (
        "import sys; from jupyter_client.manager import start_new_kernel\n"
        "manager, client = start_new_kernel(kernel_name='sparklab', startup_timeout=60)\n"
        "import json\n"
        "found = []\n"
        "def seen(m):\n"
        "    if m['msg_type'] == 'stream': found.append(m['content']['text'])\n"
        "client.execute_interactive('import sys, sparklab; print(sys.executable)', timeout=60, output_hook=seen)\n"
        "client.stop_channels(); manager.shutdown_kernel(now=True)\n"
        "print(json.dumps([sys.executable, ''.join(found).strip()]))\n"
    )
    environment = {**_environment(prefix), "PYTHONPATH": sysconfig.get_paths()["purelib"]}
    done = subprocess.run([other, "-c", program], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    server, ours = json.loads(done.stdout.splitlines()[-1])
    assert ours == sys.executable != server


def test_the_console_runs_a_job_and_shows_the_banner(prefix: Path) -> None:
    environment = {**_environment(prefix), "TERM": "dumb", "JUPYTER_CONSOLE_TEST": "1"}
    console = pexpect.spawn(
        sys.executable,
        ["-m", "jupyter_console", "--kernel=sparklab", "--simple-prompt"],
        env=environment,
        timeout=60,
        encoding="utf-8",
    )
    try:
        console.expect("SparkLab")
        console.expect(r"In \[\d+\]")
        console.sendline("sc.parallelize(range(100), 2).map(lambda n: n + 7).sum()")
        console.expect("5650")
        console.expect(r"In \[\d+\]")
        console.sendline("exit()")
        console.expect(pexpect.EOF)
    finally:
        console.close(force=True)


@pytest.mark.parametrize(
    "source",
    [
        "sc = 3\nsc + 1",
        "from somewhere import SparkContext as sc",
        "def f(sc):\n    return sc",
        "def sc():\n    return 1",
        "with open('x') as sc:\n    sc.read()",
        "text = 'sc'",
        "rdd.sc",
    ],
)
def test_a_cell_that_binds_sc_itself_gets_no_context(
    source: str, shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ast

    before = ast.dump(ast.parse(source))
    assert ast.dump(kernel_extension.ContextAtFirstMention(shell).visit(ast.parse(source))) == before


def test_an_error_in_making_the_context_is_the_cells_own(
    shell: InteractiveShell, run: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> SparkContext:
        raise ValueError("no room on this machine")

    monkeypatch.setattr(kernel_extension, "_context", refuse)
    kernel_extension.load_ipython_extension(shell)
    try:
        ran = run("'''A docstring.'''\nsc.parallelize([1])")  # type: ignore[operator]
        assert isinstance(ran.error, ValueError)
        assert "sc" not in shell.user_ns
        assert shell.ast_transformers  # a transformer that raises is dropped by IPython; ours does not
    finally:
        kernel_extension.unload_ipython_extension(shell)
    assert not shell.ast_transformers


def test_a_name_that_jupyter_does_not_allow_is_refused_in_three_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["install-kernel", "--prefix", str(tmp_path), "--name", "no spaces!"]) == 1
    told = capsys.readouterr().err
    assert "installing the kernel 'no spaces!'" in told
    assert "To do:" in told
