-- The role for people and tools that only look: Grafana, notebooks, psql.
--
-- It cannot log in until an administrator lets it (ALTER ROLE forewarn_ro LOGIN PASSWORD '…'), or grants it to
-- somebody (GRANT forewarn_ro TO grafana). Roles belong to the whole cluster: another database of ours may be creating
-- it this very moment, and a managed database may not let us create roles at all. Neither is a reason to stop.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'forewarn_ro') THEN
        BEGIN
            CREATE ROLE forewarn_ro NOLOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL;
            WHEN insufficient_privilege THEN
                RAISE WARNING 'role forewarn_ro was not created: % may not create roles. Ask an administrator for CREATE ROLE forewarn_ro, then GRANT SELECT ON ALL TABLES IN SCHEMA public TO forewarn_ro', current_user;
        END;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'forewarn_ro') THEN
        BEGIN
            -- In this database only: the role may serve others.
            EXECUTE format('ALTER ROLE forewarn_ro IN DATABASE %I SET default_transaction_read_only = on', current_database());
            EXECUTE format('ALTER ROLE forewarn_ro IN DATABASE %I SET statement_timeout = ''10s''', current_database());
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE WARNING 'role forewarn_ro keeps its own settings: % may not change them', current_user;
        END;
        GRANT USAGE ON SCHEMA public TO forewarn_ro;
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO forewarn_ro;
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO forewarn_ro;
    END IF;
END
$$;
