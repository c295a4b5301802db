"""The sentences about events: of the contract, of the bridge, and those of the addon that are stored.

A test compares this list with the code: what is said elsewhere with ``sentence("…")`` or here with ``say(env, "…")``
stands here, so that Odoo's collector of terms finds it, and :mod:`.sentences` recognises it.
"""

_ = str  # marks a term for the collector; it is translated when it is read

TEMPLATES = (
    # bridge/contract/broken_json.py
    _("a colon is missing after the name of a field"),
    _("a comma is missing after the value of “%(field)s”"),
    _("a “%(bracket)s” is missing here"),
    _("it ends too early: a “%(bracket)s” is missing at its end"),
    _("it is empty"),
    _("it must begin with “{” and end with “}”"),
    _("the name of a field has no quotation marks around it"),
    _("the name of a field holds a backslash"),
    _("the name of a field is missing"),
    _("the quotation mark after the text of “%(field)s” is missing"),
    _(
        "the text of “%(field)s” holds a backslash. In ManyChat, insert the field with the filter to_json and"
        ' without quotation marks around it: {{field|fallback:""|to_json:true}}'
    ),
    _(
        "the text of “%(field)s” holds a quotation mark. In ManyChat, insert the field with the filter "
        'to_json and without quotation marks around it: {{field|fallback:""|to_json:true}}'
    ),
    _(
        "the value of “%(field)s” has no quotation marks around it. In ManyChat, put them around the field; "
        "if people write its text, insert it with the filter to_json instead: "
        '{{field|fallback:""|to_json:true}}'
    ),
    _("there are other quotation marks than those of JSON: write \" in place of ' ’ “ ” around names and texts"),
    _("there are two commas side by side: remove one"),
    _("there is a comma before the “%(bracket)s”: remove the comma"),
    _("there is a comment, which JSON does not have: remove it"),
    _("there is something after its end: remove it"),
    _(
        "“%(field)s” has a word that is no value in JSON: write true, false or null in small letters, or put "
        "quotation marks around the word"
    ),
    _(
        "“%(field)s” has no value: ManyChat has none for this person. In ManyChat, give the field a fallback:"
        ' {{field|fallback:"0"}} for a number, {{field|fallback:""|to_json:true}} for a text'
    ),
    # bridge/contract/dates.py
    _("can be a day in two months: write the month in letters, or the year first"),
    _("must be a date and time such as 2025-07-11T17:14:31Z"),
    _("must be after 1970"),
    # bridge/contract/event.py
    _("It has the fields of an event of %(queue)s."),
    _("must not be in the future"),
    _("The envelope is damaged: %(fields)s."),
    _("The message is neither Base64 nor a JSON object."),
    # bridge/contract/extra.py
    _("left out, wholly or in part: unknown fields have room for %(size)s KiB"),
    # bridge/contract/fields.py
    _("has a placeholder that ManyChat did not fill in"),
    _("is a word that programs write for no value"),
    _("must be a whole number"),
    _("must be between 0 and %(most)s"),
    _("must be text"),
    _("must be text, or a smaller number"),
    _("must have at most %(limit)s characters"),
    _("must not be empty"),
    # bridge/contract/names.py
    _("belongs to %(method)s %(path)s"),
    _("These are the fields of another webhook. Send them to %(method)s %(path)s."),
    # bridge/contract/payloads.py
    _("give the ManyChat stage as stage_id (a number) or as stage (its label)"),
    _("is not known here"),
    _("must be an object: {…}"),
    _("The queue %(queue)s carries no events."),
    # bridge/contract/reading.py
    _("cut to %(limit)s characters"),
    _("cut: the event is too long for its queue"),
    _("did you mean %(field)s?"),
    _("differs from %(field)s, which counts"),
    _("give at least one of adviser, assignment date, last_state and summary"),
    _("is more than 24 hours in the future"),
    _("is more than 24 hours in the future, so the event counts as of its receipt"),
    _("left out, so the event counts as of its receipt: %(why)s"),
    _("left out: %(why)s"),
    _("the unknown fields were left out: the event is too long"),
    _("The update says nothing: %(what)s."),
    _("warnings that are not shown: %(count)s"),
    # bridge/contract/strict_json.py
    _("Duplicate key “%(field)s” in the body."),
    _("The body is nested too deeply."),
    _("The body is not JSON (line %(line)s, column %(column)s): %(what)s."),
    _("The body is not UTF-8 text."),
    _("The body must be a JSON object: {…}."),
    # bridge/contract/webhook.py
    _("Send the header Content-Type: application/json."),
    _(
        "The address contains a key, and logs keep addresses. Revoke the key and send a new one in the header"
        " X-API-KEY."
    ),
    _("The body has more than %(limit)s bytes."),
    _("The body is incomplete."),
    _("The header X-API-KEY is missing, or the key in it is not valid."),
    _("The request is malformed."),
    _("The service is not available at the moment. Please send the request again."),
    _("Too many requests without a valid key. Seconds until you may try again: %(seconds)s."),
    _("Use %(allowed)s here."),
    # bridge/worker/bisect.py
    _("Odoo refused it: %(what)s (%(kind)s)"),
    _("The database refused it: %(what)s"),
    # bridge/worker/dead_lettering.py
    _("Each of its attempts ended because the bridge was killed. Attempts: %(count)s."),
    # bridge/worker/delivery.py
    _("Events of type %(type)s belong on %(queue)s."),
    # bridge/worker/handlers/opportunity.py
    _("Odoo gave no reason."),
    # bridge/api/webhooks.py
    _("Odoo decides which stage the opportunity would enter. This standby does not ask it."),
    # bridge/connection_string.py
    _("%(name)s stands twice in it"),
    _("a part"),
    _("AccountKey is not whole: it is Base64, most often 88 characters with == at the end. %(advice)s"),
    _("AccountName must be 3 to 24 letters and digits"),
    _("Copy the connection string from the Azure portal: storage account, Access keys"),
    _("DefaultEndpointsProtocol must be https"),
    _("it ends at its first semicolon. A shell needs it between quotes"),
    _("it has a placeholder such as <key>. %(advice)s"),
    _("it has a SAS and no QueueEndpoint. Write %(form)s"),
    _("not an Azure Storage connection string. %(advice)s"),
    _("not an Azure Storage connection string: %(name)s is missing. It has the form %(form)s"),
    _("not an Azure Storage connection string: a part of it has no equals sign"),
    _("QueueEndpoint is no address such as https://ACCOUNT.queue.core.windows.net"),
    _("QueueEndpoint is the address of the blobs: write .queue. for .blob."),
    _("there is a blank beside a semicolon or an equals sign"),
    _("this is a key alone. %(advice)s"),
    _("this is a SAS alone. Write %(form)s"),
    _("this is of Service Bus or Event Hubs. %(advice)s"),
    # bridge/identity.py
    _("a file that is named by an AZURE_ variable is missing"),
    _("a login by identity needs the library azure-identity: %(command)s"),
    _("Add one for the issuer and subject of the service account."),
    _("Are AZURE_CLIENT_ID and AZURE_TENANT_ID right?"),
    _("AZURE_CLIENT_SECRET and the like not set"),
    _("AZURE_FEDERATED_TOKEN_FILE not set"),
    _("AZURE_TOKEN_CREDENTIALS is wrong"),
    _("Can this machine reach what issues its tokens?"),
    _("Create a new one for AZURE_CLIENT_SECRET."),
    _("Enable it in Entra ID."),
    _("Give this machine a managed identity, or set the AZURE_ variables of a service principal."),
    _("gives no token"),
    _("identity"),
    _("Is AZURE_AUTHORITY_HOST right?"),
    _("Is AZURE_CLIENT_ID right?"),
    _("Is AZURE_TENANT_ID right?"),
    _("Is this machine's clock right?"),
    _("its server has no https address"),
    _("its server's certificate is not trusted"),
    _("managed identity"),
    _("no answer"),
    _("no answer from Azure's identity endpoint"),
    _("no federated credential fits"),
    _("no token to log in with; tried %(sources)s"),
    _("not logged in"),
    _("object id %(id)s"),
    _("of this machine"),
    _("only some AZURE_ variables set"),
    _("refused with %(code)s"),
    _("Remove it, or see azure-identity for its values."),
    _("Run az login."),
    _("service principal"),
    _("Set AZURE_CLIENT_SECRET to the secret's value, not to its id."),
    _("the application is disabled"),
    _("the certificate is not of the application"),
    _("the secret has expired"),
    _("the secret is wrong"),
    _("the storage account belongs to another tenant"),
    _("the tenant has no such application"),
    _("the workload's token is out of date"),
    _("there is no such tenant"),
    _("this machine has no such identity"),
    _("Upload it there."),
    _("Use an identity of the storage account's tenant."),
    _("workload identity"),
    # bridge/queue.py
    _("not an Azure Storage connection string"),
    # bridge/queue_account.py
    _(
        "%(one)s and %(other)s are both set: remove one. The connection string logs in with its key or SAS, "
        "the URL with the identity of this machine"
    ),
    _("a login by identity needs https."),
    _("a login by identity needs https. For Azurite without TLS, set its connection string instead"),
    _("not a URL such as %(example)s"),
    _(
        "the URL has a signature or a password in it. For a SAS, set the connection string "
        "QueueEndpoint=URL;SharedAccessSignature=SIGNATURE instead"
    ),
    _("this is a connection string, and not a URL such as %(example)s"),
    _("this is a URL: set %(name)s in its place"),
    _("this is the account's read-only copy: write the URL without -secondary"),
    # bridge/queue_errors.py
    _(
        "%(queue)s does not exist, and the identity %(name)s may not create it: Create the queue, or assign "
        "the role “Storage Queue Data Contributor”."
    ),
    _(
        "%(queue)s does not exist, and the SAS may not create it: Create the queue, or give the SAS the right"
        " to create (sp=c)."
    ),
    _("a right (%(code)s)"),
    _("Allow it under Networking of the storage account."),
    _(
        "Give the SAS the service queue (ss=q), the resource types container and object (srt=co) and the "
        "rights read, add, update and process (sp=raup); also create (c), unless all queues exist. Odoo needs"
        " read and add only."
    ),
    _("Is its subscription active?"),
    _("Is the connection string's key or SAS of this account? A SAS may have expired, or not begun."),
    _("Is the storage account's name right?"),
    _("it answered %(status)s"),
    _("it answered %(status)s to the identity %(name)s"),
    _("Make a SAS for this machine's address."),
    _(
        "On the storage account, assign it the role “Storage Queue Data Contributor” for the bridge; for "
        "Odoo, “Storage Queue Data Message Sender” and “Storage Queue Data Reader” are enough if all queues "
        "exist. A new role takes up to 30 minutes."
    ),
    _("Set the URL of the account in place of the connection string, so that an identity logs in."),
    _("the identity %(name)s lacks %(what)s"),
    _("the request could not be signed"),
    _("the SAS is for other addresses"),
    _("the SAS lacks %(what)s"),
    _(
        "The service does not accept its token. Is the storage account in the tenant of this identity, and "
        "this machine's clock right?"
    ),
    _("the storage account is disabled"),
    _("the storage account takes no keys"),
    _("the storage account's network rules refuse this machine"),
    _("there is no host of its name"),
    # bridge/setting_file.py
    _("%(file)s cannot be read (%(error)s). Let the user of this program read it."),
    _(
        "%(file)s is a directory, not a file. Docker makes one where a file to mount is missing: remove it, "
        "and create the file."
    ),
    _("%(file)s is a link to a file that does not exist."),
    _("%(file)s is in UTF-16, or is no text. %(advice)s"),
    _("%(file)s is larger than %(size)s KB: is it another file?"),
    _("%(file)s is no ordinary file. Write the text into a file."),
    _("%(file)s is not in UTF-8 (line %(line)s, Latin-1 perhaps). %(advice)s"),
    _("Save it as UTF-8 (in PowerShell: Out-File -Encoding utf8)."),
    # bridge/setting_value.py
    _("there is a character in it that is not UTF-8"),
    _("there is a line break or another control character in it"),
    _("there is a quote at one of its ends only"),
    # miasalud_crm/apply/refusal.py
    _("%(labels)s does not exist any more, or is still in use (%(model)s)."),
    _("%(labels)s is required (%(model)s), and the event does not fill it."),
    _("A trigger of the database does not allow it."),
    _("A value is longer than %(length)s characters, which is the limit of %(labels)s."),
    _("A value is longer than its field in the database allows (%(length)s characters)."),
    _("An error in the program: %(kind)s in %(place)s. Odoo's log has the place in the code."),
    _("The database does not accept a value: %(kind)s."),
    _("The rule “%(rule)s” of the database does not allow it (%(model)s)."),
    _("The rule “%(rule)s” of the database does not allow it (%(model)s). It is about %(labels)s."),
    _("the server action “%(name)s”"),
    _("There is another record with the same value of %(labels)s (%(model)s)."),
    # miasalud_crm/configuration.py
    _("%(file)s cannot be read (%(error)s)"),
    _("%(one)s and %(other)s are both set: keep one of them"),
    _("the file is empty"),
    _("there is no file %(file)s"),
    # miasalud_crm/controllers/webhook.py
    _("This key is for one test event. Bots need a key of their own."),
    # miasalud_crm/models/crm_lead_apply.py
    _("An event of type “%(type)s” concerns no opportunity."),
    _(
        "The ManyChat stage “%(stage)s” is not mapped to a pipeline stage. Map it under %(menu)s; the event "
        "then continues by itself."
    ),
    # miasalud_crm/models/manychat_event_relay.py
    _("The event's row is damaged (%(kind)s)."),
    _("The event's row is damaged. %(what)s"),
    _("The queue refuses this event: %(what)s."),
    # miasalud_crm/models/manychat_request_try.py
    _("The opportunity would enter the stage “%(stage)s”."),
    _("This ManyChat stage is not mapped yet: the event would wait until a manager maps it in Odoo."),
)
