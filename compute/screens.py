"""From what a hypervisor says is a screen to a small picture for a page. Pure: bytes in, bytes out.

Nothing vouches for the bytes: a guest chooses what its screen shows and how large it is. Two formats are read, the size
is looked at before a pixel is, and what leaves is an image that was made here.
"""

from __future__ import annotations

import io

from PIL import Image

FORMATS = ("PPM", "PNG")
MOST_PIXELS = 3840 * 2400
THUMBNAIL = (480, 300)
LARGEST_THUMBNAIL = 64 * 1024
QUALITIES = (60, 30, 5)


class NoPicture(Exception):
    """The bytes are no image of a screen that is shown here; the text says why, for the log."""


def thumbnail(taken: bytes) -> bytes:
    """A WebP of at most ``THUMBNAIL`` pixels and ``LARGEST_THUMBNAIL`` bytes. Raises ``NoPicture``."""
    try:
        with Image.open(io.BytesIO(taken), formats=FORMATS) as image:
            width, height = image.size
            if not 0 < width * height <= MOST_PIXELS:
                raise NoPicture(f"a screen of {width} x {height}")
            small = image.convert("RGB")
    except NoPicture:
        raise
    except Exception as error:
        # Pillow answers to damaged files with whatever its parsers met: OSError, SyntaxError, struct.error, ValueError.
        raise NoPicture(type(error).__name__) from error
    small.thumbnail(THUMBNAIL)
    return _encoded(small)


def _encoded(image: Image.Image) -> bytes:
    """As good as the bound on its bytes allows."""
    for quality in QUALITIES:
        found = io.BytesIO()
        image.save(found, "WEBP", quality=quality, method=2)
        if found.tell() <= LARGEST_THUMBNAIL:
            return found.getvalue()
    raise NoPicture("it does not become small")
