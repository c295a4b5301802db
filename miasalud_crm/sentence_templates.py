"""The sentences about events: of the contract, of the bridge, and those of the addon that are stored.

A test compares this list with the code: what is said elsewhere with ``sentence("…")`` or here with ``say(env, "…")``
stands here, so that Odoo's collector of terms finds it, and :mod:`.sentences` recognises it.
"""

_lt = str  # marks a term for the collector; it is translated when it is read

TEMPLATES = (
    # bridge/contract/broken_json.py
    _lt("a colon is missing after the name of a field"),
    _lt("a comma is missing after the value of “%(field)s”"),
    _lt("a “%(bracket)s” is missing here"),
    _lt("it ends too early: a “%(bracket)s” is missing at its end"),
    _lt("it is empty"),
    _lt("it must begin with “{” and end with “}”"),
    _lt("the name of a field has no quotation marks around it"),
    _lt("the name of a field holds a backslash"),
    _lt("the name of a field is missing"),
    _lt("the quotation mark after the text of “%(field)s” is missing"),
    _lt(
        "the text of “%(field)s” holds a backslash. In ManyChat, insert the field with the filter to_json and"
        ' without quotation marks around it: {{field|fallback:""|to_json:true}}'
    ),
    _lt(
        "the text of “%(field)s” holds a quotation mark. In ManyChat, insert the field with the filter "
        'to_json and without quotation marks around it: {{field|fallback:""|to_json:true}}'
    ),
    _lt(
        "the value of “%(field)s” has no quotation marks around it. In ManyChat, put them around the field; "
        "if people write its text, insert it with the filter to_json instead: "
        '{{field|fallback:""|to_json:true}}'
    ),
    _lt("there are other quotation marks than those of JSON: write \" in place of ' ’ “ ” around names and texts"),
    _lt("there are two commas side by side: remove one"),
    _lt("there is a comma before the “%(bracket)s”: remove the comma"),
    _lt("there is a comment, which JSON does not have: remove it"),
    _lt("there is something after its end: remove it"),
    _lt(
        "“%(field)s” has a word that is no value in JSON: write true, false or null in small letters, or put "
        "quotation marks around the word"
    ),
    _lt(
        "“%(field)s” has no value: ManyChat has none for this person. In ManyChat, give the field a fallback:"
        ' {{field|fallback:"0"}} for a number, {{field|fallback:""|to_json:true}} for a text'
    ),
    # bridge/contract/dates.py
    _lt("can be a day in two months: write the month in letters, or the year first"),
    _lt("must be a date and time such as 2025-07-11T17:14:31Z"),
    _lt("must be after 1970"),
    # bridge/contract/event.py
    _lt("It has the fields of an event of %(queue)s."),
    _lt("must not be in the future"),
    _lt("The envelope is damaged: %(fields)s."),
    _lt("The message is neither Base64 nor a JSON object."),
    # bridge/contract/extra.py
    _lt("left out, wholly or in part: unknown fields have room for %(size)s KiB"),
    # bridge/contract/fields.py
    _lt("has a placeholder that ManyChat did not fill in"),
    _lt("is a word that programs write for no value"),
    _lt("must be a number"),
    _lt("must be a smaller number"),
    _lt("must be a whole number"),
    _lt("must be between 0 and %(most)s"),
    _lt("must be text"),
    _lt("must be text, or a smaller number"),
    _lt("must be one of: %(choices)s"),
    _lt("must have at most %(limit)s characters"),
    _lt("must not be empty"),
    # bridge/contract/names.py
    _lt("belongs to %(method)s %(path)s"),
    _lt("These are the fields of another webhook. Send them to %(method)s %(path)s."),
    # bridge/contract/payloads.py
    _lt("give the ManyChat stage as stage_id (a number) or as stage (its label)"),
    _lt("is not known here"),
    _lt("must be an object: {…}"),
    _lt("The queue %(queue)s carries no events."),
    # bridge/contract/reading.py
    _lt("cut to %(limit)s characters"),
    _lt("cut: the event is too long for its queue"),
    _lt("did you mean %(field)s?"),
    _lt("differs from %(field)s, which counts"),
    _lt("give at least one of adviser, assignment date, last_state and summary"),
    _lt("is more than 24 hours in the future"),
    _lt("is more than 24 hours in the future, so the event counts as of its receipt"),
    _lt("left out, so the event counts as of its receipt: %(why)s"),
    _lt("left out: %(why)s"),
    _lt("the unknown fields were left out: the event is too long"),
    _lt("The update says nothing: %(what)s."),
    _lt("warnings that are not shown: %(count)s"),
    # bridge/contract/strict_json.py
    _lt("Duplicate key “%(field)s” in the body."),
    _lt("The body is nested too deeply."),
    _lt("The body is not JSON (line %(line)s, column %(column)s): %(what)s."),
    _lt("The body is not UTF-8 text."),
    _lt("The body must be a JSON object: {…}."),
    # bridge/contract/webhook.py
    _lt("Send the header Content-Type: application/json."),
    _lt(
        "The address contains a key, and logs keep addresses. Revoke the key and send a new one in the header"
        " X-API-KEY."
    ),
    _lt("The body has more than %(limit)s bytes."),
    _lt("The body is incomplete."),
    _lt("The header X-API-KEY is missing, or the key in it is not valid."),
    _lt("The request is malformed."),
    _lt("The scope of this key is “%(scope)s”. This request needs “%(needed)s”."),
    _lt("The service is not available at the moment. Please send the request again."),
    _lt("Too many requests without a valid key. Seconds until you may try again: %(seconds)s."),
    _lt("Use %(allowed)s here."),
    # bridge/worker/bisect.py
    _lt("Odoo refused it: %(what)s (%(kind)s)"),
    _lt("The database refused it: %(what)s"),
    # bridge/worker/dead_lettering.py
    _lt("Each of its attempts ended because the bridge was killed. Attempts: %(count)s."),
    # bridge/worker/delivery.py
    _lt("Events of type %(type)s belong on %(queue)s."),
    # bridge/worker/handlers/opportunity.py
    _lt("Odoo gave no reason."),
    # bridge/api/webhooks.py
    _lt("Odoo decides which stage the opportunity would enter. This standby does not ask it."),
    # bridge/connection_string.py
    _lt("%(name)s stands twice in it"),
    _lt("a part"),
    _lt("AccountKey is not whole: it is Base64, most often 88 characters with == at the end. %(advice)s"),
    _lt("AccountName must be 3 to 24 letters and digits"),
    _lt("Copy the connection string from the Azure portal: storage account, Access keys"),
    _lt("DefaultEndpointsProtocol must be https"),
    _lt("it ends at its first semicolon. A shell needs it between quotes"),
    _lt("it has a placeholder such as <key>. %(advice)s"),
    _lt("it has a SAS and no QueueEndpoint. Write %(form)s"),
    _lt("not an Azure Storage connection string. %(advice)s"),
    _lt("not an Azure Storage connection string: %(name)s is missing. It has the form %(form)s"),
    _lt("not an Azure Storage connection string: a part of it has no equals sign"),
    _lt("QueueEndpoint is no address such as https://ACCOUNT.queue.core.windows.net"),
    _lt("QueueEndpoint is the address of the blobs: write .queue. for .blob."),
    _lt("there is a blank beside a semicolon or an equals sign"),
    _lt("this is a key alone. %(advice)s"),
    _lt("this is a SAS alone. Write %(form)s"),
    _lt("this is of Service Bus or Event Hubs. %(advice)s"),
    # bridge/identity.py
    _lt("a file that is named by an AZURE_ variable is missing"),
    _lt("a login by identity needs the library azure-identity: %(command)s"),
    _lt("Add one for the issuer and subject of the service account."),
    _lt("Are AZURE_CLIENT_ID and AZURE_TENANT_ID right?"),
    _lt("AZURE_CLIENT_SECRET and the like not set"),
    _lt("AZURE_FEDERATED_TOKEN_FILE not set"),
    _lt("AZURE_TOKEN_CREDENTIALS is wrong"),
    _lt("Can this machine reach what issues its tokens?"),
    _lt("Create a new one for AZURE_CLIENT_SECRET."),
    _lt("Enable it in Entra ID."),
    _lt("Give this machine a managed identity, or set the AZURE_ variables of a service principal."),
    _lt("gives no token"),
    _lt("identity"),
    _lt("Is AZURE_AUTHORITY_HOST right?"),
    _lt("Is AZURE_CLIENT_ID right?"),
    _lt("Is AZURE_TENANT_ID right?"),
    _lt("Is this machine's clock right?"),
    _lt("its server has no https address"),
    _lt("its server's certificate is not trusted"),
    _lt("managed identity"),
    _lt("no answer"),
    _lt("no answer from Azure's identity endpoint"),
    _lt("no federated credential fits"),
    _lt("no token to log in with; tried %(sources)s"),
    _lt("not logged in"),
    _lt("object id %(id)s"),
    _lt("of this machine"),
    _lt("only some AZURE_ variables set"),
    _lt("refused with %(code)s"),
    _lt("Remove it, or see azure-identity for its values."),
    _lt("Run az login."),
    _lt("service principal"),
    _lt("Set AZURE_CLIENT_SECRET to the secret's value, not to its id."),
    _lt("the application is disabled"),
    _lt("the certificate is not of the application"),
    _lt("the secret has expired"),
    _lt("the secret is wrong"),
    _lt("the storage account belongs to another tenant"),
    _lt("the tenant has no such application"),
    _lt("the workload's token is out of date"),
    _lt("there is no such tenant"),
    _lt("this machine has no such identity"),
    _lt("Upload it there."),
    _lt("Use an identity of the storage account's tenant."),
    _lt("workload identity"),
    # bridge/queue/login.py
    _lt("not an Azure Storage connection string"),
    # bridge/queue/account.py
    _lt(
        "%(one)s and %(other)s are both set: remove one. The connection string logs in with its key or SAS, "
        "the URL with the identity of this machine"
    ),
    _lt("a login by identity needs https."),
    _lt("a login by identity needs https. For Azurite without TLS, set its connection string instead"),
    _lt("not a URL such as %(example)s"),
    _lt(
        "the URL has a signature or a password in it. For a SAS, set the connection string "
        "QueueEndpoint=URL;SharedAccessSignature=SIGNATURE instead"
    ),
    _lt("this is a connection string, and not a URL such as %(example)s"),
    _lt("this is a URL: set %(name)s in its place"),
    _lt("this is the account's read-only copy: write the URL without -secondary"),
    # bridge/queue/errors.py
    _lt(
        "%(queue)s does not exist, and the identity %(name)s may not create it: Create the queue, or assign "
        "the role “Storage Queue Data Contributor”."
    ),
    _lt(
        "%(queue)s does not exist, and the SAS may not create it: Create the queue, or give the SAS the right"
        " to create (sp=c)."
    ),
    _lt("a right (%(code)s)"),
    _lt("Allow it under Networking of the storage account."),
    _lt(
        "Give the SAS the service queue (ss=q), the resource types container and object (srt=co) and the "
        "rights read, add, update and process (sp=raup); also create (c), unless all queues exist. Odoo needs"
        " read and add only."
    ),
    _lt("Is its subscription active?"),
    _lt("Is the connection string's key or SAS of this account? A SAS may have expired, or not begun."),
    _lt("Is the storage account's name right?"),
    _lt("it answered %(status)s"),
    _lt("it answered %(status)s to the identity %(name)s"),
    _lt("Make a SAS for this machine's address."),
    _lt(
        "On the storage account, assign it the role “Storage Queue Data Contributor” for the bridge; for "
        "Odoo, “Storage Queue Data Message Sender” and “Storage Queue Data Reader” are enough if all queues "
        "exist. A new role takes up to 30 minutes."
    ),
    _lt("Set the URL of the account in place of the connection string, so that an identity logs in."),
    _lt("the identity %(name)s lacks %(what)s"),
    _lt("the SAS is for other addresses"),
    _lt("the SAS lacks %(what)s"),
    _lt(
        "The service does not accept its token. Is the storage account in the tenant of this identity, and "
        "this machine's clock right?"
    ),
    _lt("This machine's clock is wrong by %(minutes)s minutes: set it right."),
    _lt("the storage account is disabled"),
    _lt("the storage account takes no keys"),
    _lt("the storage account's network rules refuse this machine"),
    _lt("there is no host of its name"),
    # bridge/setting_file.py
    _lt("%(file)s cannot be read (%(error)s). Let the user of this program read it."),
    _lt(
        "%(file)s is a directory, not a file. Docker makes one where a file to mount is missing: remove it, "
        "and create the file."
    ),
    _lt("%(file)s is a link to a file that does not exist."),
    _lt("%(file)s is in UTF-16, or is no text. %(advice)s"),
    _lt("%(file)s is larger than %(size)s KB: is it another file?"),
    _lt("%(file)s is no ordinary file. Write the text into a file."),
    _lt("%(file)s is not in UTF-8 (line %(line)s, Latin-1 perhaps). %(advice)s"),
    _lt("Save it as UTF-8 (in PowerShell: Out-File -Encoding utf8)."),
    # bridge/setting_value.py
    _lt("there is a character in it that is not UTF-8"),
    _lt("there is a line break or another control character in it"),
    _lt("there is a quote at one of its ends only"),
    # miasalud_crm/apply/refusal.py
    _lt("%(labels)s does not exist any more, or is still in use (%(model)s)."),
    _lt("%(labels)s is required (%(model)s), and the event does not fill it."),
    _lt("A trigger of the database does not allow it."),
    _lt("A value is longer than %(length)s characters, which is the limit of %(labels)s."),
    _lt("A value is longer than its field in the database allows (%(length)s characters)."),
    _lt("An error in the program: %(kind)s in %(place)s. Odoo's log has the place in the code."),
    _lt("The database does not accept a value: %(kind)s."),
    _lt("The rule “%(rule)s” of the database does not allow it (%(model)s)."),
    _lt("The rule “%(rule)s” of the database does not allow it (%(model)s). It is about %(labels)s."),
    _lt("the server action “%(name)s”"),
    _lt("There is another record with the same value of %(labels)s (%(model)s)."),
    # miasalud_crm/configuration.py
    _lt("%(file)s cannot be read (%(error)s)"),
    _lt("%(one)s and %(other)s are both set: keep one of them"),
    _lt("the file is empty"),
    _lt("there is no file %(file)s"),
    # miasalud_crm/controllers/webhook.py
    _lt("This key is for one test event. Bots need a key of their own."),
    # miasalud_crm/models/crm_lead_apply.py
    _lt("An event of type “%(type)s” concerns no opportunity."),
    _lt(
        "The ManyChat stage “%(stage)s” is not mapped to a pipeline stage. Map it under %(menu)s; the event "
        "then continues by itself."
    ),
    # miasalud_crm/models/manychat_event_relay.py
    _lt("The event's row is damaged (%(kind)s)."),
    _lt("The event's row is damaged. %(what)s"),
    _lt("The queue refuses this event: %(what)s."),
    # miasalud_crm/models/manychat_request_try.py
    _lt("The opportunity would enter the stage “%(stage)s”."),
    _lt("This ManyChat stage is not mapped yet: the event would wait until a manager maps it in Odoo."),
)
