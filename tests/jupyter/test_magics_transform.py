from __future__ import annotations

from IPython.core.inputtransformer2 import TransformerManager

from sparklab.jupyter.transform import is_marked, replace_marked_line


def manager() -> TransformerManager:
    made = TransformerManager()
    made.cleanup_transforms.append(replace_marked_line)
    return made


def test_only_the_first_line_is_replaced_and_no_line_is_added_or_lost() -> None:
    cell = "%%sparklab -o a --name 'x y'\none = 1\n\ntwo = 2\n"

    lines = manager().transform_cell(cell).splitlines()

    assert lines[0] == """get_ipython().run_line_magic('sparklab', "%% -o a --name 'x y'")"""
    assert lines[1:] == ["one = 1", "", "two = 2"]


def test_a_cell_without_the_mark_is_left_alone() -> None:
    for cell in ("x = 1\n", "%sparklab jobs\n", "%%sparklabx\nbody\n", "x = '''\n%%sparklab\n'''\n", ""):
        assert replace_marked_line(cell.splitlines(keepends=True)) == cell.splitlines(keepends=True)


def test_asking_for_help_is_left_to_ipython() -> None:
    assert "pinfo" in manager().transform_cell("%%sparklab?\n")


def test_line_magics_and_shell_lines_in_the_body_still_work() -> None:
    lines = manager().transform_cell("%%sparklab\n%pwd\nfiles = !ls\n").splitlines()

    assert lines[1] == "get_ipython().run_line_magic('pwd', '')"
    assert lines[2] == "files = get_ipython().getoutput('ls')"


def test_another_cell_magic_below_the_mark_keeps_its_body() -> None:
    lines = manager().transform_cell("%%sparklab -q\n\n%%time\nx = 1\n").splitlines()

    assert lines == [
        "get_ipython().run_line_magic('sparklab', '%% -q')",
        "",
        "get_ipython().run_cell_magic('time', '', 'x = 1\\n')",
    ]


def test_a_future_import_stays_the_first_statement() -> None:
    source = manager().transform_cell("%%sparklab\n# why\nfrom __future__ import annotations\nx: undefined = 1\n")

    compile(source, "cell", "exec")
    assert source.splitlines()[0] == ""
    assert source.splitlines()[2].startswith("from __future__ import annotations; get_ipython()")
    assert len(source.splitlines()) == 4


def test_a_terminal_waits_for_the_body_of_a_marked_cell() -> None:
    assert manager().check_complete("%%sparklab -o a\n")[0] == "incomplete"


def test_the_mark_is_found_below_another_cell_magic() -> None:
    assert is_marked("%%time\n%%sparklab -o a\nx = 1")
    assert not is_marked("x = 1  # %%sparklab")
