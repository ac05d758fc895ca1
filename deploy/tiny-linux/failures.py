"""The one error of the builder: what failed and what to do about it, in one line."""


class BuildError(Exception):
    """The image cannot be built; the message is shown to the user as it is."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} ({remedy})")
