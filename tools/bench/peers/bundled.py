"""Programs of a build directory, or of a bundle (tools/bundle), for scripts."""


def program(bin, name):
    """The words that start `bin`/`name`: in a bundle with its libraries, which Python does not have."""
    beside = bin.resolve().parent / "with"
    return [*([beside] if beside.exists() else []), bin / name]
