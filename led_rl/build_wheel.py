"""The step of the build that puts configs/ and the small base model inside the wheel (pyproject.toml names it).

They stay at the top of the repository, where a user sees them, and are in git once.
"""

from pathlib import Path

from setuptools.command.build_py import build_py

SHIPPED = ("configs/**/*.yaml", "checkpoints/base_countdown/*")


class BuildPackage(build_py):
    """`build_py`, and the shipped files below the package's folder, where `led_rl.shipped` looks for them."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # an editable install reads them where they are
            for source in _files():
                target = Path(self.build_lib) / "led_rl" / source
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))

    def get_source_files(self) -> list[str]:
        """What goes into a source distribution, from which the wheel may be built."""
        return [*super().get_source_files(), *map(str, _files())]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        ours = [str(Path(self.build_lib) / "led_rl" / source) for source in _files()]
        return [*super().get_outputs(include_bytecode), *ours]


def _files() -> list[Path]:
    return sorted(path for pattern in SHIPPED for path in Path().glob(pattern) if path.is_file())
