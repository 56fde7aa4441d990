"""Run import-linter over the installed shape of the tree (see package_view.py).

An editable install answers `import bireme` with an import hook that names several folders; the
linter would walk all of them, build folders included. So the hook is taken out and the view of
symbolic links is put first on the path. Contracts: `.importlinter`.
"""

from __future__ import annotations

import sys

from importlinter import cli

from tools.package_view import ROOT, VIEW, make_view


def main() -> int:
    """Return import-linter's exit status: 0 kept, 1 broken or not readable."""
    make_view()
    sys.meta_path[:] = [f for f in sys.meta_path if "ScikitBuild" not in type(f).__name__]
    sys.path.insert(0, str(VIEW))
    return cli.lint_imports(
        config_filename=str(ROOT / ".importlinter"),
        cache_dir=str(ROOT / "build" / "import-linter"),
        no_logo=True,
    )


if __name__ == "__main__":
    sys.exit(main())
