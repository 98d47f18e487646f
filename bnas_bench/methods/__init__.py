"""The search strategies that come with the suite, one file each.

In a checkout they lie at the repository's root, where an author looks for them; a wheel has them here.
"""

from pathlib import Path

_ROOT = Path(__file__).parents[2]
if (_ROOT / "pyproject.toml").is_file():
    __path__.append(str(_ROOT / "methods"))
