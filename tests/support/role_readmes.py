"""Write the tables of variables in roles/*/README.md from each role's meta/argument_specs.yml.

    python tests/support/role_readmes.py            write them
    python tests/support/role_readmes.py --check    name the files that are not as they should be, and fail

A README has the table between two markers; the words above are written by hand. The tool is here and not
in docs/, because docs/ is part of the built collection, and this is of use in the checkout only.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parents[2] / "roles"
BEGIN = "<!-- variables: written by tests/support/role_readmes.py, do not edit -->"
END = "<!-- end of variables -->"

# Ansible's markup: a letter, and an argument in which \ makes the next character plain
MARKUP = re.compile(r"\b(O|V|C|E|RV|M|P|U|L|R|B|I)\(((?:\\.|[^\\)])*)\)")
CODE = ("O", "V", "C", "E", "RV", "P", "R", "M")


def to_markdown(text: str) -> str:
    """Turn Ansible's markup into Markdown."""
    return MARKUP.sub(_mark, text)


def _mark(match: re.Match[str]) -> str:
    kind, content = match[1], re.sub(r"\\(.)", r"\1", match[2])
    if kind == "O":
        content = content.replace("=", ": ", 1)
    if kind in CODE:
        return code(content)
    if kind == "U":
        return f"<{content}>"
    if kind == "L":
        words, _comma, address = content.rpartition(",")
        return f"[{words}]({address.strip()})"
    return f"**{content}**" if kind == "B" else f"*{content}*"


def code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def described(option: dict[str, Any]) -> str:
    paragraphs = option["description"] if isinstance(option["description"], list) else [option["description"]]
    words = " ".join(to_markdown(" ".join(paragraph.split())) for paragraph in paragraphs)
    if "choices" in option:
        words += f" One of {', '.join(code(str(choice)) for choice in option['choices'])}."
    return words


def kind(option: dict[str, Any]) -> str:
    return f"list of {option['elements']}" if "elements" in option else str(option["type"])


def default(option: dict[str, Any]) -> str:
    """Give the default as it would be written in an inventory; JSON is YAML too."""
    if option.get("required"):
        return "required"
    if "default" not in option:
        return ""
    value = option["default"]
    return code(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))


def rows(options: dict[str, dict[str, Any]], prefix: str = "") -> Iterator[str]:
    for name, option in options.items():
        full = f"{prefix}{name}"
        yield f"| {' | '.join(map(cell, [code(full), kind(option), default(option), described(option)]))} |"
        yield from rows(option.get("options", {}), f"{full}[]." if kind(option).startswith("list") else f"{full}.")


def table(role: Path) -> str:
    """Make the part of a role's README that lies between the markers."""
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    options = spec["argument_specs"]["main"]["options"]
    lines = ["| variable | type | default | meaning |", "|---|---|---|---|", *rows(options)]
    return "\n".join([BEGIN, "", *lines, "", END])


def wanted(role: Path) -> str:
    """Give a role's README with its table as it should be."""
    readme = role / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{readme} needs the lines\n{BEGIN}\n{END}")
    return before + table(role) + after


def main() -> None:
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    stale = []
    for role in sorted(path.parent.parent for path in ROLES.glob("*/meta/argument_specs.yml")):
        readme, text = role / "README.md", wanted(role)
        if readme.read_text(encoding="utf-8") != text:
            stale.append(str(readme.relative_to(ROLES.parent)))
            if not check:
                readme.write_text(text, encoding="utf-8")
    if stale and check:
        sys.exit(f"not as meta/argument_specs.yml says: {', '.join(stale)}; run python tests/support/role_readmes.py")
    if stale:
        sys.stdout.write(f"written: {', '.join(stale)}\n")


if __name__ == "__main__":
    main()
