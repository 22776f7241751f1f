"""The documentation site's hooks for MkDocs: the pages that stand outside docs/, and links that cross its border.

README, CONTRIBUTING and the other pages of `OUTSIDE` become pages of the site as they are. A link to a file that is no page, a
script or a Helm chart, becomes plain text there; on the pages themselves it leads to the file. A link to nothing fails.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "deploy/README.md": "deploying.md",
    "samples/README.md": "samples.md",
}
"""Pages outside docs/ by their path, and their names on the site."""
_SOURCES = {name: path for path, name in OUTSIDE.items()}
_LINK = re.compile(r"(?P<image>!?)\[(?P<label>[^\]]*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/ to the site."""
    for path, name in OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn the links of a page to the places that the site has."""
    return linked(markdown, page.file.src_uri)


def linked(markdown: str, name: str) -> str:
    """Rewrite the relative links of the site's page `name`, which are relative to where its source stands."""
    here = PurePosixPath(_SOURCES.get(name, f"docs/{name}")).parent

    def rewrite(match: re.Match[str]) -> str:
        if "://" in match["target"] or match["target"].startswith("mailto:"):
            return match[0]
        path = os.path.normpath(here / match["target"]).replace(os.sep, "/")
        if path in OUTSIDE or path.startswith("docs/"):
            on_site = OUTSIDE.get(path) or path.removeprefix("docs/")
            place = os.path.relpath(on_site, PurePosixPath(name).parent).replace(os.sep, "/")
            return f"{match['image']}[{match['label']}]({place}{match['anchor'] or ''})"
        return match["label"] if (ROOT / path).exists() else match[0]

    return _LINK.sub(rewrite, markdown)
