"""What it means that a connection to the database failed, and what to do; by words, as there is no statement yet.

The texts themselves are not shown: they name users and addresses. PostgreSQL words its refusals in the language of the
server, so each of them is known in English and in Spanish.
"""

from __future__ import annotations

import re

#: What is wrong, and what to do.
Words = tuple[str, str]

#: Advice about a refused login.
USER = "Are user and password in the URL right? Write special characters in them as %40 and the like."
_ADDRESS = "Are the URL's host and port right, and does no firewall stand between?"
_REFUSED: Words = ("nothing listens at this address and port", f"Is the server running? {_ADDRESS}")
_UNKNOWN_HOST: Words = (
    "there is no host of this name",
    "Is the URL's host right? Does this machine's DNS know it?",
)
_SILENT: Words = ("no answer in time", f"Is the server running? {_ADDRESS}")
_NO_ROUTE: Words = ("the network does not lead to this host", _ADDRESS)
_CERTIFICATE: Words = (
    "the server's certificate is not trusted",
    "Install the certificate of its authority. Only for a server that you know: TrustServerCertificate=yes in the URL.",
)
_CERTIFICATE_NAME: Words = ("the server's certificate has another name", "Give the URL the name in the certificate.")
_NOT_KNOWN: Words = ("the driver does not know an option in the URL", "Correct what stands behind the ? in it.")

#: Signs in what pyodbc says, in lower case. TLS is worded by OpenSSL on Linux, by the system on Windows.
_ODBC = (
    ("hostname mismatch", _CERTIFICATE_NAME),
    ("principal name is incorrect", _CERTIFICATE_NAME),
    ("certificate verify failed", _CERTIFICATE),
    ("certificate chain was issued by an authority that is not trusted", _CERTIFICATE),
    ("wrong version number", ("the server does not know Encrypt=strict", "Write Encrypt=yes into the URL.")),
    ("unsupported protocol", ("the server's TLS is too old", "Update the server.")),
    (
        "encryption not supported on sql server",
        ("the server has no TLS", "Give it a certificate. Only in a network of your own: Encrypt=no in the URL."),
    ),
    ("sspi provider", ("login refused, no Kerberos ticket", "Write user and password into the URL, or run kinit.")),
    ("invalid value specified for connection string attribute", _NOT_KNOWN),
    # Raised by .frozen.
    ("connection refused", _REFUSED),
    ("no host of this name", _UNKNOWN_HOST),
    ("no route to host", _NO_ROUTE),
    (
        "no login within",
        ("no answer in time", "An older server does not answer to Encrypt=strict: write Encrypt=yes."),
    ),
)
#: The same for what PostgreSQL's drivers say.
_POSTGRESQL = (
    (
        r"no password supplied",
        ("login refused, the URL has no password", "Write it: postgresql+psycopg://USER:PASSWORD@HOST/…"),
    ),
    (r"password authentication failed|la autentificación password falló", ("login refused", USER)),
    (r"role .* does not exist|no existe el rol", ("login refused, there is no such user", USER)),
    (
        r"is not permitted to log in|no tiene permitido conectarse",
        ("login refused, the user may not log in", "Run on the server: ALTER ROLE … LOGIN"),
    ),
    (
        r"database .* does not exist|no existe la base de datos",
        ("there is no such database", "Create it, or correct the name at the end of the URL."),
    ),
    (
        r"permission denied for database|permiso denegado a la base de datos",
        ("the user may not use this database", "Run on the server: GRANT CONNECT ON DATABASE …"),
    ),
    (
        r"no pg_hba\.conf entry .*(no encryption|ssl off)|pg_hba\.conf .*(sin cifrado|ssl inactivo)",
        ("the server takes encrypted connections only", "Write ?sslmode=require behind the URL."),
    ),
    (
        r"pg_hba\.conf",
        ("the server does not let this machine in", "Add a line for it to pg_hba.conf, or a rule to Azure's firewall."),
    ),
    (
        r"too many clients|connection slots|demasiados clientes",
        ("the server has no connection left", "Run fewer bridges, or let the server take more."),
    ),
    (
        r"starting up|shutting down|in recovery mode|not yet accepting|iniciándose|apagándose|modo de recuperación",
        ("the server is stopping or starting", "Wait."),
    ),
    (
        r"does not support ssl|no soporta ssl",
        ("the server has no TLS", "Only in a network of your own: sslmode=disable in the URL."),
    ),
    (
        r"certificate verify failed|root certificate file",
        ("the server's certificate is not trusted", "Name the file of its authority: sslrootcert=FILE in the URL."),
    ),
    (r"server certificate for .* does not match|hostname mismatch", _CERTIFICATE_NAME),
    (r"could not translate host name|failed to resolve host|name or service not known", _UNKNOWN_HOST),
    (r"on socket .*no such file or directory", ("no server at this socket", f"Is the server running? {_ADDRESS}")),
    (r"connection refused", _REFUSED),
    (r"no route to host|network is unreachable", _NO_ROUTE),
    (r"timeout expired|timed out", _SILENT),
    (
        r"server closed the connection unexpectedly|received invalid response|expected authentication request",
        ("the server closed the connection", "Is it PostgreSQL that listens at this port?"),
    ),
    (r"invalid connection option|invalid .* value|invalid uri", _NOT_KNOWN),
)


def odbc_words(text: str) -> Words | None:
    """The meaning of what pyodbc said."""
    return next((words for sign, words in _ODBC if sign in text.lower()), None)


def postgresql_words(text: str) -> Words | None:
    """The meaning of what a driver of PostgreSQL said."""
    return next((words for sign, words in _POSTGRESQL if re.search(sign, text, re.IGNORECASE | re.DOTALL)), None)


def is_of_the_settings(words: Words | None) -> bool:
    """Whether only another URL helps, and nothing that happens on the server."""
    return words is _NOT_KNOWN
