"""Write the tables of variables in roles/*/README.md and docs/variables.md from each role's meta/argument_specs.yml.

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
PAGE_HEAD = """# Every variable

<!-- written by tests/support/role_readmes.py, do not edit -->

What an inventory says of a site first is `site_x`, in [playbooks/group_vars/all.yml](../playbooks/group_vars/all.yml),
which hands it to the roles. All of a role's own variables can be set in an inventory as well:
"""

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


def specification(role: Path) -> dict[str, Any]:
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    return dict(spec["argument_specs"]["main"])


def table(role: Path) -> list[str]:
    return ["| variable | type | default | meaning |", "|---|---|---|---|", *rows(specification(role)["options"])]


def page(roles: list[Path]) -> str:
    """Make the page with the variables of all roles."""
    links = ", ".join(f"[{role.name}](#{role.name})" for role in roles)
    parts = [PAGE_HEAD + links + "."]
    for role in roles:
        about = to_markdown(specification(role)["short_description"])
        parts += [f"## {role.name}\n\n{about}: [README](../roles/{role.name}/README.md)\n", "\n".join(table(role))]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def wanted(role: Path) -> str:
    """Give a role's README with its table as it should be."""
    readme = role / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{readme} needs the lines\n{BEGIN}\n{END}")
    return before + "\n".join([BEGIN, "", *table(role), "", END]) + after


def main() -> None:
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    stale = []
    roles = sorted(path.parent.parent for path in ROLES.glob("*/meta/argument_specs.yml"))
    pages = {role / "README.md": wanted(role) for role in roles} | {ROLES.parent / "docs" / "variables.md": page(roles)}
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(ROLES.parent)))
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if stale and check:
        sys.exit(f"not as meta/argument_specs.yml says: {', '.join(stale)}; run python tests/support/role_readmes.py")
    if stale:
        sys.stdout.write(f"written: {', '.join(stale)}\n")


if __name__ == "__main__":
    main()
