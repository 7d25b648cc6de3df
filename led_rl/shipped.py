"""Files that come with led_rl, found from any working directory: configurations, and the small base model.

`configs/countdown_grpo.yaml` means the same file in a clone, in any other folder, and where only the wheel is
installed (which carries configs/ and checkpoints/base_countdown inside the package). A path of the user's
own that has such a name wins over what is shipped.
"""

from pathlib import Path

BASE = "checkpoints/base_countdown"
MODELS = (BASE, "checkpoints/grpo_countdown")
PACKAGE = Path(__file__).resolve().parent
CLONE = PACKAGE.parent  # where there is one
HOMES = (CLONE, PACKAGE)


def located(path: str | Path) -> Path:
    """`path` itself if it is there, else the shipped file or folder of that name, else `path` itself."""
    given = Path(path)
    if given.exists() or given.is_absolute() or not is_shipped(given):
        return given
    return next((home / given for home in HOMES if (home / given).exists()), given)


def is_shipped(path: str | Path) -> bool:
    """Whether led_rl ships something by this name. It may still be absent: a wheel carries one model only."""
    given = Path(path)
    return given.as_posix() in MODELS or given.parts[:1] == ("configs",)


def is_ours(path: Path) -> bool:
    """Whether this folder is a shipped model itself, and no copy."""
    return path.resolve() in {home / model for home in HOMES for model in MODELS}
