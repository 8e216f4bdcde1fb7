"""For the site: pages that lie outside docs/, and links that are written for GitHub made right."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/results/*", "agents/README.md")
"""Files of the repository that the site has too, at the same place beside the pages of docs/."""

LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the files outside docs/."""
    root = Path(config.config_file_path).parent
    for path in sorted(path for pattern in OUTSIDE for path in root.glob(pattern)):
        files.append(File.generated(config, path.relative_to(root).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turns each relative link from one in the repository into one on the site, where docs/ is the root."""
    here = page.file.src_uri
    in_repository = here if page.file.generated_by else f"docs/{here}"

    def on_site(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository), match[1])).removeprefix("docs/")
        return f"]({posixpath.relpath(target, posixpath.dirname(here) or '.')}"

    return LINK.sub(on_site, markdown)
