"""What a look at a provider found, and the looks that are taken before it is connected. Nothing of an SDK, no Django."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look at a provider found. ``code`` is empty where all is well; ``data`` its figures, never a secret.

    ``step`` is the step of the diagnosis (or, of an input that is refused, its field); the sentences for people are above.
    """

    step: str
    code: str = ""
    data: dict[str, str] = field(default_factory=dict)
    is_warning: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether nothing beyond it can work."""
        return bool(self.code) and not self.is_warning


@dataclass(frozen=True, slots=True)
class Probe:
    """A look that a diagnosis takes before it connects; ``look`` blocks for up to ``seconds``, and may hang."""

    step: str
    look: Callable[[], Finding]
    seconds: float = 10.0
