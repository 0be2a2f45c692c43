"""Claims that wait for somebody else's lock."""

STANDS_STILL = """
CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4711);
    RETURN NEW;
END $$;
CREATE TRIGGER stands_still BEFORE UPDATE ON flask_recurring.job
FOR EACH ROW WHEN (NEW.state = 'Processing') EXECUTE FUNCTION stand_still();
SELECT pg_advisory_lock(4711);
"""
"""Makes a claim wait for the session that says this, when it has locked its rows."""
