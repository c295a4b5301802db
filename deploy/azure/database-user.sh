#!/bin/sh
# Runs database-user.sql, or says how to. azd calls it after `azd provision`, with the template's outputs as variables.
set -eu
cd "$(dirname "$0")"
: "${DATABASE_HOST:?}" "${DATABASE_NAME:?}" "${IDENTITY_NAME:?}"

if command -v sqlcmd >/dev/null && sqlcmd --help 2>&1 | grep -q -- --authentication-method; then
    # The server lets this machine in only if its firewall has a rule for it.
    if sqlcmd -S "$DATABASE_HOST" -d "$DATABASE_NAME" --authentication-method ActiveDirectoryDefault \
        -v IDENTITY="$IDENTITY_NAME" -b -i database-user.sql; then
        echo "$IDENTITY_NAME is a user of $DATABASE_NAME."
        exit 0
    fi
fi
echo "Once, as the database's Microsoft Entra administrator: open the database $DATABASE_NAME on $DATABASE_HOST in the"
echo "portal (Query editor), and run this. Until then the bridge answers 18456, login failed."
echo
sed -e '/^--/d' -e '/^GO/d' -e "s/\$(IDENTITY)/$IDENTITY_NAME/g" database-user.sql
