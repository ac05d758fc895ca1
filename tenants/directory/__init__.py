"""How directories are spoken with (LDAP), and whose accounts they are here."""
