"""A Python of Windows for the tests of the Windows half of aiodhcp."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ON_WINDOWS = sys.platform == "win32"
# ``inside`` is for the Python of Windows, the rest for the one that starts it.
collect_ignore = ["test_windows_server.py"] if ON_WINDOWS else ["inside"]

if not ON_WINDOWS:
    import wine_kit
    from windows_python import NotToBeHad, WindowsPython, laid_out

    @pytest.fixture(scope="session")
    def windows_directory() -> Path:
        """The directory of a python.exe."""
        if why := wine_kit.is_there():
            pytest.skip(why)
        try:
            return laid_out()
        except NotToBeHad as error:
            pytest.skip(str(error))

    @pytest.fixture(scope="session")
    def windows_python(windows_directory: Path) -> Iterator[WindowsPython]:
        """Python as on Windows: ``windows_python.run("-c", "print(1)")``."""
        with wine_kit.another_prefix() as prefix, wine_kit.awake(prefix):
            python = WindowsPython(windows_directory, prefix)
            yield python
            python.close()
