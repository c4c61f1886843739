"""Packages keep their meaning when they are placed in a plain tree."""

from isolet.workspace.bundling import Import
from isolet.workspace.packages import package_root, place_packages


def imports(*pairs: tuple[str, str]) -> list[Import]:
    return [Import(specifier=specifier, target=target) for specifier, target in pairs]


def test_the_folder_of_a_package() -> None:
    assert package_root("src/index.ts") is None
    assert package_root("node_modules/hono/dist/index.js") == "node_modules/hono"
    assert package_root("../node_modules/@a/b/c.js") == "../node_modules/@a/b"
    assert package_root("node_modules/.pnpm/x@1/node_modules/x/i.js") == "node_modules/.pnpm/x@1/node_modules/x"


def test_links_of_a_package_manager_become_a_plain_tree() -> None:
    store = "node_modules/.pnpm"
    one, two = f"{store}/one@1/node_modules/one", f"{store}/two@2/node_modules/two"
    inputs = {
        "index.js": imports(("one", f"{one}/i.js")),
        f"{one}/i.js": imports(("two/sub", f"{two}/sub.js"), ("./own", f"{one}/own.js")),
        f"{one}/own.js": imports(),
        f"{two}/sub.js": imports(("one", f"{one}/i.js")),
    }
    assert place_packages(inputs) == {one: ("node_modules/one",), two: ("node_modules/two",)}


def test_another_version_goes_into_the_package_that_imports_it() -> None:
    a, b, old, new = (f"/s/{name}/node_modules/{name.split('@')[0]}" for name in ("a@1", "b@1", "x@1", "x@2"))
    inputs = {
        "index.js": imports(("a", f"{a}/i.js"), ("b", f"{b}/i.js")),
        f"{a}/i.js": imports(("x", f"{old}/i.js")),
        f"{b}/i.js": imports(("x", f"{new}/i.js")),
        f"{old}/i.js": imports(),
        f"{new}/i.js": imports(),
    }
    # Paths without their first slash, as they are below a root.
    inputs = {
        path.lstrip("/"): [Import(specifier=i.specifier, target=(i.target or "").lstrip("/")) for i in found]
        for path, found in inputs.items()
    }
    assert place_packages(inputs) == {
        a.lstrip("/"): ("node_modules/a",),
        b.lstrip("/"): ("node_modules/b",),
        old.lstrip("/"): ("node_modules/x",),
        new.lstrip("/"): ("node_modules/b/node_modules/x",),
    }


def test_what_no_tree_can_mean_is_none() -> None:
    aliased = {"index.js": imports(("other", "node_modules/one/i.js")), "node_modules/one/i.js": imports()}
    assert place_packages(aliased) is None
    linked = {
        "index.js": imports(("one", "node_modules/one/i.js")),
        "node_modules/one/i.js": imports(("w", "../w/i.js")),
    }
    assert place_packages(linked) is None
