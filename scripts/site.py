"""What the site takes from outside docs/: README as its first page, CONTRIBUTING, committed reports.

A hook of mkdocs. The pages are written for the repository, where their links lead to files beside docs/;
on the site those files lie beside the pages.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
TAKEN = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
"""Pages at the repository's root, and what they are called on the site."""
OTHERS = ("CITATION.cff", "results/README.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what lies outside docs/."""
    for source, name in TAKEN.items():
        text = (ROOT / source).read_text("utf-8")
        files.append(File.generated(config, name, content=text.replace("](docs/", "](")))
    for path in [*(ROOT / other for other in OTHERS), *sorted((ROOT / "reports").rglob("*"))]:
        if path.is_file():
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(
    markdown: str,
    page: Page,
    config: MkDocsConfig,  # noqa: ARG001 - the names are mkdocs'
    files: Files,  # noqa: ARG001
) -> str:
    """Links out of docs/ lead to what was added."""
    return markdown.replace("](../", "](") if "/" not in page.file.src_uri else markdown
