"""Databases refuse to change or forget what the audit log holds; docs/decisions/0046 says by which way it is done on purpose."""

from django.db import migrations

OPENING = "CREATE TABLE events_opening (reason varchar(200) NOT NULL)"
REFUSAL = "the audit log is append-only"
POSTGRESQL = (
    f"""CREATE FUNCTION events_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT EXISTS (SELECT 1 FROM events_opening) THEN
                RAISE EXCEPTION '{REFUSAL}';
            ELSIF TG_OP = 'UPDATE' THEN
                RETURN NEW;
            ELSIF TG_OP = 'DELETE' THEN
                RETURN OLD;
            END IF;
            RETURN NULL;
        END $$""",
    """CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events_event
        FOR EACH ROW EXECUTE FUNCTION events_append_only()""",
    """CREATE TRIGGER events_append_only_whole BEFORE TRUNCATE ON events_event
        FOR EACH STATEMENT EXECUTE FUNCTION events_append_only()""",
)
SQLITE = tuple(
    f"""CREATE TRIGGER events_append_only_{act} BEFORE {act} ON events_event
        WHEN NOT EXISTS (SELECT 1 FROM events_opening) BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"""
    for act in ("UPDATE", "DELETE")
)
BACK = {
    "postgresql": (
        "DROP TRIGGER events_append_only_whole ON events_event",
        "DROP TRIGGER events_append_only ON events_event",
        "DROP FUNCTION events_append_only()",
    ),
    "sqlite": tuple(f"DROP TRIGGER events_append_only_{act}" for act in ("UPDATE", "DELETE")),
}


def refuse(apps, schema_editor):
    statements = {"postgresql": POSTGRESQL, "sqlite": SQLITE}[schema_editor.connection.vendor]
    for statement in (OPENING, *statements):
        schema_editor.execute(statement)


def allow(apps, schema_editor):
    for statement in (*BACK[schema_editor.connection.vendor], "DROP TABLE events_opening"):
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("events", "0001_initial")]

    operations = [migrations.RunPython(refuse, allow)]
