"""The reference of `helpers`, read from the source: no module is imported, so that nothing heavy is needed or loaded."""
from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

FENCE = "``````"  # longer than any fence that a docstring holds
MARKUP = re.compile(r"([\\*<>\[\]${}|])")
PACKAGES = {
    "helpers": "Used by the lessons, and the command line",
    "helpers.data": "Data sets, splits and augmentation",
    "helpers.backbones": "Pretrained networks",
    "helpers.adaptation": "Domain adaptation",
    "helpers.grading": "Release and grading of exercises",
    "helpers.site": "This site",
}


def modules(package: Path) -> dict[str, Path]:
    """The modules of a package and its packages by their dotted name, in order; those that begin with an underscore are left out."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            found[".".join(parts)] = path
    return found


def write(package: Path, folder: Path) -> None:
    """Write pages in Markdown into `folder`: one for each module of `package`, one for each package inside it, and index.md."""
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in modules(package).items()}
    trees = {name: tree for name, tree in trees.items() if members(tree)}
    pages: dict[str, list[str]] = {}
    for name in trees:
        pages.setdefault(page_of(name), []).append(name)
    for title, names in pages.items():
        # Listed on the index alone: in the side bar of every page they would cost more than all the rest.
        parts = ["---\norphan: true\n---\n"]
        if names != [title]:
            parts.append(f"# `{title}`\n\n{PACKAGES.get(title, 'A package inside `helpers`')}.\n")
        parts += [describe_module(name, trees[name], "#" if names == [title] else "##") for name in names]
        (folder / f"{title}.md").write_text("\n".join(parts), encoding="utf-8")
    (folder / "index.md").write_text(index(trees), encoding="utf-8")


def page_of(name: str) -> str:
    """The page that a module is on: its own, or that of its package."""
    return ".".join(name.split(".")[:2])


def index(trees: dict[str, ast.Module]) -> str:
    """The page that lists all modules, by package, with the first sentence about each."""
    parts = ["# Reference of `helpers`\n\nEvery public function of the package that the lessons share, from its own documentation. "
             "A lesson writes "
             "an\nidea out where it first appears; afterwards it imports it from here, under the same name.\n"]
    groups: dict[str, list[str]] = {}
    for name in trees:
        groups.setdefault(page_of(name) if page_of(name) in PACKAGES else "helpers", []).append(name)
    for package in PACKAGES:
        rows = "\n".join(f"| [`{name}`]({page_of(name)}.md#{anchor(name)}) | {markdown(first_sentence(trees[name]))} |"
                         for name in groups.get(package, []))
        parts.append(f"## {PACKAGES[package]}\n\n| module | what it is for |\n|---|---|\n{rows}\n" if rows else "")
    return "\n".join(parts)


def anchor(name: str) -> str:
    """The place of a module on its page, as Markdown's heading anchors name it."""
    return name.replace(".", "").lower()


def members(tree: ast.Module) -> list[ast.FunctionDef | ast.ClassDef]:
    """The public functions and classes of a module."""
    return [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")]


def describe_module(name: str, tree: ast.Module, sign: str) -> str:
    """A module: heading, what it says about itself, and its public members."""
    head = f"{sign} `{name}`\n\n{FENCE}{{py:module}} {name}\n{FENCE}\n\n{markdown(ast.get_docstring(tree) or '')}\n"
    return "\n".join([head, *(describe(node, name) for node in members(tree))])


def describe(node: ast.FunctionDef | ast.ClassDef, module: str, owner: str = "") -> str:
    """A function, a class with its fields and public methods, or a method, as a directive of Sphinx's Python domain."""
    if isinstance(node, ast.ClassDef):
        kind, signature = "class", node.name
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and not ast.unparse(part.target).startswith("_")]
        within = [f"`{ast.unparse(part)}`\\" for part in fields]
        inside = "\n".join(within).removesuffix("\\")
        methods = [part for part in node.body if isinstance(part, ast.FunctionDef)
                   and (not part.name.startswith("_") or part.name == "__init__" and ast.get_docstring(part))]
        inside += "".join(f"\n\n{describe(part, module, node.name)}" for part in methods)
    else:
        names = {ast.unparse(decorator) for decorator in node.decorator_list}
        kind = "property" if any("property" in name for name in names) else "method" if owner else "function"
        inside = ""
        arguments = ast.unparse(without_self(node) if owner and "staticmethod" not in names else node.args)
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        signature = node.name if kind == "property" else f"{node.name}({arguments}){returns}"
    fence = FENCE[:-1] if owner else FENCE
    where = f":module: {module}\n" if not owner else ""
    text = markdown(ast.get_docstring(node) or "")
    return f"{fence}{{py:{kind}}} {signature}\n{where}\n{text}\n\n{inside}\n{fence}\n"


def without_self(node: ast.FunctionDef) -> ast.arguments:
    """The arguments of a method without the first one."""
    rest = ast.parse(f"def f({ast.unparse(node.args)}): 0").body[0].args
    (rest.posonlyargs or rest.args)[:1] = []
    return rest


def first_sentence(tree: ast.Module) -> str:
    """The first sentence of a module's documentation, on one line."""
    first = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.?!])\s(?=[A-Z`])", first)[0]


def markdown(docstring: str) -> str:
    """A docstring as Markdown: what stands in `backticks` is code, an indented block is code, any other sign stands for itself."""
    blocks = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        if block.startswith("    "):
            blocks.append(f"```python\n{inspect.cleandoc(block)}\n```")
            continue
        pieces = re.split(r"(`[^`]+`)", block)
        text = "".join(piece if place % 2 else MARKUP.sub(r"\\\1", piece) for place, piece in enumerate(pieces))
        blocks.append(re.sub(r"^([#+-]|\d+\.)(?=\s)", r"\\\1", text, flags=re.MULTILINE))
    return "\n\n".join(blocks)
