"""How dates and times are written, in the place of Django's own: day first, and 24 hours."""
