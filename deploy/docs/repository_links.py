"""A hook of MkDocs: the site has the repository's own README and SECURITY, and every file that a page links to.

Pages link to each other and to files of the repository as GitHub wants it, relative to their own place. On the site
``docs/`` is the top folder, so links are rewritten, and files outside ``docs/`` become part of the site.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
#: Pages that live at the top of the repository.
TOP_PAGES = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
#: The target of a link or image, up to its anchor.
TARGET = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages at the top, the style sheet, and the files that pages link to."""
    for name in (*TOP_PAGES, *config.extra_css):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for page in list(files.documentation_pages()):
        for target in TARGET.findall(page.content_string):
            path = _in_repository(page.src_uri, target)
            if files.get_file_from_path(_on_site(path)) is None and (ROOT / path).is_file():
                files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have links name what they name in the repository by its place on the site."""
    source = page.file.src_uri
    here = posixpath.dirname(source)
    return TARGET.sub(
        lambda match: posixpath.relpath(_on_site(_in_repository(source, match[1])), here or "."), markdown
    )


def _in_repository(page: str, target: str) -> str:
    """The path in the repository that ``target`` names when ``page`` links to it."""
    folder = "" if page in TOP_PAGES else posixpath.dirname(f"docs/{page}")
    return posixpath.normpath(posixpath.join(folder, target))


def _on_site(path: str) -> str:
    """The place on the site of a path in the repository."""
    return path.removeprefix("docs/")
