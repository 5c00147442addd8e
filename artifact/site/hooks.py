"""What MkDocs runs on each page: see `hooks` in mkdocs.yml."""

import re
from typing import Any

NOTHING = re.compile(r"<p>Initialize self\.\s+See help\(type\(self\)\) for accurate signature\.</p>")


def on_page_content(html: str, **_: Any) -> str:
    """Leaves out what Python says of a constructor without a docstring: the class has it all."""
    return NOTHING.sub("", html)
