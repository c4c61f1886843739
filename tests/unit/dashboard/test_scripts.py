"""The scripts of pages have the types that they say, and nothing in templates needs what the policy forbids."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "src/isolet/dashboard"
_OPTIONS = (
    *("--noEmit", "--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"),
    *("--lib", "es2022,dom,dom.iterable", "--skipLibCheck"),
)


def test_scripts_have_the_types_that_they_say() -> None:
    scripts = sorted(str(path) for path in (PAGES / "scripts").glob("*.ts"))
    command = ["node", str(ROOT / "node_modules/typescript/bin/tsc"), *_OPTIONS, *scripts]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_what_a_page_of_a_function_loads_is_small() -> None:
    """All of its tabs together below 400 KB, as browsers get it over a proxy that compresses."""
    built = ROOT / "node_modules/isolet-dashboard"
    loaded = ("app.js", "editor.js", "metric-chart.js", "app.css", "metric-chart.css")
    sizes = [len(gzip.compress((built / name).read_bytes())) for name in loaded]
    assert sum(sizes) < 400_000


def test_templates_have_no_inline_script_and_no_style() -> None:
    templates = list((PAGES / "templates").glob("*.html"))
    assert len(templates) > 15
    for template in templates:
        text = template.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), template.name
        assert not re.search(r"""\s(style|on[a-z]+)=["'{]""", text), template.name
        assert "|safe" not in text.replace(" ", ""), template.name


def test_every_form_that_posts_carries_the_token() -> None:
    for template in (PAGES / "templates").glob("*.html"):
        if template.name == "login.html":
            continue
        for form in re.findall(r'<form method="post".*?</form>', template.read_text(), re.DOTALL):
            assert "token(visit)" in form, (template.name, form)
