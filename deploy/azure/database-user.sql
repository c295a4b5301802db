-- The identity of bridge, API and jobs becomes a user of the database, with the rights to read and write rows, and to
-- change tables (`db upgrade`). A Microsoft Entra administrator of the server runs it; a second run changes nothing.
IF DATABASE_PRINCIPAL_ID(N'$(IDENTITY)') IS NULL
    CREATE USER [$(IDENTITY)] FROM EXTERNAL PROVIDER;
ALTER ROLE db_datareader ADD MEMBER [$(IDENTITY)];
ALTER ROLE db_datawriter ADD MEMBER [$(IDENTITY)];
ALTER ROLE db_ddladmin ADD MEMBER [$(IDENTITY)];
GO
