"""Make the package of the site tide, versions 1.0 and 2.0: python3 wheels.py FOLDER.

A wheel is a zip file with records. Times are fixed: the same files give the same wheel everywhere.
"""

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent / "tide"
NAME = "coralnet_sample_tide"
METADATA = """Metadata-Version: 2.1
Name: {name}
Version: {version}
Requires-Dist: Django
Requires-Dist: whitenoise
"""
WHEEL = "Wheel-Version: 1.0\nGenerator: wheels.py\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def files(*layers: str) -> dict[str, bytes]:
    """The package's files by path, those of later layers instead of earlier ones."""
    found = {}
    for layer in layers:
        for path in (HERE / layer).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found[path.relative_to(HERE / layer).as_posix()] = path.read_bytes()
    return found


def write(folder: Path, version: str, content: dict[str, bytes]) -> None:
    info = f"{NAME}-{version}.dist-info"
    content = {
        **content,
        "tide/version.py": f'VERSION = "{version}"\n'.encode(),
        f"{info}/METADATA": METADATA.format(name=NAME.replace("_", "-"), version=version).encode(),
        f"{info}/WHEEL": WHEEL.encode(),
    }
    lines = [
        f"{path},sha256={digest(text)},{len(text)}\n" for path, text in sorted(content.items())
    ]
    content[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    with zipfile.ZipFile(folder / f"{NAME}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in sorted(content.items()):
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o644 << 16
            wheel.writestr(entry, text)


def digest(text: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, "1.0", files("base"))
    write(folder, "2.0", files("base", "versions/v2"))


if __name__ == "__main__":
    main()
