"""A database backend of Django's; see ``base``."""
