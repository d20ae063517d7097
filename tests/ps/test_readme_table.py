"""README's table of the paper's sections: complete, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Sections of Li et al., OSDI'14, and what of each has to have a line.
ITEMS = {
    "3": ["groups of workers", "namespaces"],
    "3.1": ["(key, value) vectors", "share a key set"],
    "3.2": ["range push and pull"],
    "3.3": ["functions of the user on the server"],
    "3.4": ["asynchronous tasks", "dependencies"],
    "3.5": ["sequential", "eventual", "bounded delay"],
    "3.6": ["significantly modified", "KKT", "one's own"],
    "4.1": ["vector clocks per key range"],
    "4.2": ["key caching", "compression"],
    "4.3": ["consistent hashing", "virtual nodes"],
    "4.4": ["replication after aggregation", "chains"],
    "4.5": ["join and leave", "recovery", "heartbeats"],
    "4.6": ["workers that are lost", "workers that join"],
    "5.1": ["sparse logistic regression", "bounded delay", "KKT"],
    "5.2": ["latent Dirichlet allocation"],
    "5.3": ["sketches"],
}
PEERS = ["ps-lite", "Bosen", "TensorFlow", "Ray"]


def rows() -> list[list[str]]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| section | here |") :].split("\n\n", 1)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def defined_tests() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return found


def test_every_item_of_the_papers_sections_has_a_line_in_the_readme() -> None:
    head, _, *lines = rows()
    assert all(any(peer in cell for cell in head) for peer in PEERS)
    for section, items in ITEMS.items():
        said = " ".join(line[0] for line in lines if line[0].split()[0] == section).lower()
        missing = [item for item in items if item.lower() not in said]
        assert not missing, f"section {section} of the README's table does not say {missing}"


def test_every_line_of_the_readmes_table_names_tests_that_exist_and_fills_every_column() -> None:
    head, _, *lines = rows()
    known = defined_tests()
    for line in lines:
        assert len(line) == len(head), line
        unclear = [cell for cell in line[1:-1] if not re.match(r"(yes|no)(: .|, .|$)|partly: .", cell)]
        assert not unclear, f"neither yes nor no, nor what is there partly: {unclear}"
        if line[1] == "no":
            continue
        named = re.findall(r"`(test_\w+)`", line[-1])
        assert named, f"no test in {line}"
        assert not [name for name in named if name not in known], f"tests that are not there: {line[-1]}"
